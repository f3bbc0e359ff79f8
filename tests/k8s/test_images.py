"""The images' Dockerfiles, without building them: hadolint, rules of ours, and the locks that they install."""

import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import pytest
from apache_beam.version import __version__ as beam_version
from packaging.requirements import Requirement

from tests.k8s.render import K8S

PROJECT = K8S.parent
IMAGES = {name: K8S / "images" / name / "Dockerfile" for name in ("cpu", "gpu", "flink-client", "dataflow")}


def instructions(text: str) -> list[tuple[str, str]]:
    """Returns a Dockerfile's instructions as (word, rest), with continued lines joined and comments left out."""
    lines = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ").splitlines()
    return [(line.split()[0].upper(), line.split(maxsplit=1)[1]) for line in lines if line.strip()]


def wrong(text: str) -> list[str]:
    """Returns what is wrong with a Dockerfile, as sentences."""
    found, steps, stages = [], instructions(text), set()
    for word, rest in steps:
        if word == "FROM":
            image, *name = rest.split(" AS ")
            if image not in stages and not re.fullmatch(r"([a-z0-9]+/)?[\w.]+:[\w.-]+@\$\{[A-Z_]+_DIGEST\}|\$\{CPU_IMAGE\}", image):
                found.append(f"base image {image} is not given by digest")
            stages |= set(name)
        if word == "ARG" and "=" in rest:
            found.append(f"argument {rest} has a default")
        if word == "ADD" or (word == "RUN" and re.search(r"\b(curl|wget|apt-get|git clone)\b", rest)):
            found.append(f"{word} fetches what has no hash: {rest}")
        for command in [part.strip() for part in rest.split("&&") if word == "RUN" and "pip install" in part]:
            if not re.search(r"--require-hashes|--no-index", command):
                found.append(f"installs without hashes: {command}")
            if not re.search(r"--no-build-isolation|--only-binary :all:", command):
                found.append(f"builds with packages that have no hash: {command}")
        if word == "COPY" and "--from=" not in rest:
            found += [f"{source} is not in the build's context" for source in rest.split()[:-1] if not in_context(source)]
        if word in ("ENV", "ARG") and re.search(r"PASSWORD|TOKEN|SECRET", rest):
            found.append(f"a secret: {word} {rest}")
    last = steps[max(n for n, (word, _) in enumerate(steps) if word == "FROM") :]
    users = [rest for word, rest in last if word == "USER"]
    if not users or not re.fullmatch(r"[1-9]\d*:[1-9]\d*", users[-1]):
        found.append("the last user is not a number other than 0")
    if len([word for word, _ in steps if word == "FROM"]) < 2:
        found.append("one stage only")
    return found


def in_context(source: str) -> bool:
    """Whether a file or folder of the project is sent to the build, by `.dockerignore`."""
    allowed = {line.removeprefix("!") for line in (PROJECT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    return source in allowed and (PROJECT / source).exists()


@pytest.mark.parametrize("name", IMAGES)
def test_hadolint_has_nothing_to_say(name):
    done = subprocess.run([Path(sys.executable).parent / "hadolint", IMAGES[name]], capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize("name", IMAGES)
def test_a_dockerfile_keeps_to_the_rules(name):
    assert wrong(IMAGES[name].read_text()) == []


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        ("cpu", "bookworm@${PYTHON_DIGEST} AS build", "bookworm AS build", "is not given by digest"),
        ("cpu", "FROM python:3.11", "FROM registry.example.com/python:3.11", "is not given by digest"),
        ("gpu", "FROM ${CPU_IMAGE}", "FROM clickrank:latest", "is not given by digest"),
        ("flink-client", "2.77.0@${JOB_SERVER_DIGEST}", "2.77.0", "is not given by digest"),
        ("flink-client", "FROM apache/", "FROM registry.example.com/apache/", "is not given by digest"),
        ("dataflow", "ARG SDK_DIGEST", "ARG SDK_DIGEST=sha256:0", "has a default"),
        ("dataflow", "USER 1000:1000", "", "not a number other than 0"),
        ("cpu", "ARG PYTHON_DIGEST", "ARG PYTHON_DIGEST=sha256:0", "has a default"),
        ("cpu", "--require-hashes --no-build-isolation", "--no-build-isolation", "installs without hashes"),
        ("cpu", "--require-hashes --no-build-isolation", "--require-hashes", "builds with packages that have no hash"),
        ("gpu", "--require-hashes", "", "installs without hashes"),
        ("gpu", "--only-binary :all:", "", "builds with packages that have no hash"),
        ("cpu", "RUN groupadd", "RUN apt-get update && groupadd", "fetches what has no hash"),
        ("cpu", "COPY configs configs", "ADD configs configs", "fetches what has no hash"),
        ("cpu", "COPY configs configs", "COPY tests tests", "tests is not in the build's context"),
        ("cpu", "COPY configs configs", "COPY . .", ". is not in the build's context"),
        ("cpu", "USER 1000:1000", "USER 0:0", "not a number other than 0"),
        ("cpu", "USER 1000:1000", "USER clickrank", "not a number other than 0"),
        ("gpu", "USER 1000:1000", "", "not a number other than 0"),
        ("cpu", "TMPDIR=/tmp", "TMPDIR=/tmp DB_PASSWORD=x", "a secret"),
    ],
)
def test_a_changed_dockerfile_is_found(name, old, new, said):
    text = IMAGES[name].read_text()
    assert old in text
    assert any(said in problem for problem in wrong(text.replace(old, new)))


def test_one_stage_is_found():
    assert "one stage only" in wrong("FROM ${CPU_IMAGE}\nUSER 1:1\n")


def test_the_context_has_every_package_of_the_project():
    packages = {file.parent.name for file in PROJECT.glob("*/__init__.py")} - {"tests"}
    assert packages
    assert all(in_context(package) for package in packages)


def test_the_user_of_the_images_is_the_one_that_serving_and_flink_work_as():
    users = {rest for file in IMAGES.values() for word, rest in instructions(file.read_text()) if word == "USER"}
    serving = (K8S / "components/tf-serving/serving.yaml").read_text()
    assert users == {"1000:1000"}
    flink = (K8S / "components/flink/flink.yaml").read_text()
    assert set(re.findall(r"runAs(?:User|Group): (\d+)", flink)) == {"1000"}
    assert re.findall(r"runAs(?:User|Group): (\d+)", serving) == ["1000", "1000"]


def test_what_beam_brings_is_of_the_locked_version():
    froms = [
        rest for name in ("flink-client", "dataflow") for word, rest in instructions(IMAGES[name].read_text()) if word == "FROM"
    ]
    assert [rest.split("@")[0].split(":")[1] for rest in froms if rest.startswith("apache/beam")] == [beam_version] * 2


@pytest.mark.parametrize("lock", ["requirements.txt", "k8s/images/gpu/requirements.txt"])
def test_every_locked_package_has_a_version_and_a_hash(lock):
    packages = re.split(r"\n(?! )", (PROJECT / lock).read_text().rstrip())
    assert len(packages) > 10
    assert [
        line for line in packages if not re.match(r"[\w.-]+==\S+ \\\n(?:    --hash=sha256:[0-9a-f]{64}(?: \\\n)?)+$", line)
    ] == []


def test_what_builds_packages_is_locked_too():
    assert len(re.findall(r"^(?:setuptools|wheel)==", (PROJECT / "requirements.txt").read_text(), re.MULTILINE)) == 2


def test_the_gpu_lock_is_what_this_tensorflow_asks_for():
    asked = {
        requirement.name: requirement.specifier
        for requirement in map(Requirement, importlib.metadata.requires("tensorflow"))
        if requirement.marker
        and requirement.marker.evaluate({"extra": "and-cuda"})
        and not requirement.marker.evaluate({"extra": ""})
    }
    wanted = [Requirement(line) for line in (K8S / "images/gpu/requirements.in").read_text().splitlines() if line[0] != "#"]
    locked = dict(re.findall(r"^(\S+)==(\S+)", (K8S / "images/gpu/requirements.txt").read_text(), re.MULTILINE))
    assert {requirement.name: requirement.specifier for requirement in wanted} == asked
    assert locked.keys() == asked.keys()
    assert all(asked[name].contains(version) for name, version in locked.items())
