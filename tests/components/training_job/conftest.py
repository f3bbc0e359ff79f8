import pytest

from tests.components.training_job.cluster import Cluster, running


@pytest.fixture
def cluster(tmp_path_factory, monkeypatch):
    """A cluster that the client finds by a kubeconfig."""
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with running(Cluster()) as made:
        file = tmp_path_factory.mktemp("kube") / "config"
        file.write_text(made.kubeconfig())
        monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(file))
        yield made
