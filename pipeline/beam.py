"""Beam's flags from the configuration. Without TFX, which takes seconds to import."""

from schemas.config import BeamConfig


def beam_args(beam: BeamConfig) -> list[str]:
    """Beam's flags for data-parallel work."""
    args = [f"--runner={beam.runner}", *beam.args]
    if not any(arg.startswith(("--sdk_container_image", "--setup_file", "--requirements_file", "--extra_package")) for arg in args):
        # Told of no image, TFX builds a source package of itself for every node. The image has all; local runners read no image.
        args.append("--sdk_container_image=clickrank")
    return args
