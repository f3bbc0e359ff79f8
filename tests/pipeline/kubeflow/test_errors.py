"""What the user is told of each thing that can go wrong, by the real client against the test's server."""

import datetime
import email.utils
import re
import socket
import ssl
import threading

import pytest

from pipeline.config import load_config
from pipeline.kubeflow.client import connect
from pipeline.kubeflow.errors import TOKEN_VARIABLE
from schemas.errors import ConfigError, RemoteError, TransientError
from tests.pipeline.kubeflow.backend import Fault


def ask(patience, address, *settings):
    """The first call of every submit."""
    api = load_config((), [f"kubeflow.api.endpoint={address}", "kubeflow.api.timeout_s=1", *settings]).kubeflow.api
    return patience.retries.persist(connect(api).healthzs.healthz_service_get_healthz)


@pytest.mark.parametrize(
    ("fault", "kind", "message"),
    [
        (Fault(status=401), RemoteError, f"wants to know who asks .401.: as the fault says; set {TOKEN_VARIABLE} to a token"),
        (Fault(status=403), RemoteError, "does not allow us to do this .403.: as the fault says$"),
        (Fault(status=404), RemoteError, "no Kubeflow Pipelines 2 there .404 for /apis/v2beta1/healthz.; .* HOST/pipeline$"),
        (Fault("html", status=404), RemoteError, "no Kubeflow Pipelines 2 there .404 for"),
        (Fault(status=409), RemoteError, "has something else of that name .409.: as the fault says$"),
        (Fault(status=400), RemoteError, "cannot do what we ask for .400.: as the fault says$"),
        (Fault(status=500), RemoteError, "cannot do what we ask for .500.: as the fault says$"),
        (Fault(status=429), TransientError, "asks to try again later .429: too many calls.: as the fault says; 3 tries$"),
        (Fault("html", status=502), TransientError, "asks to try again later .502: a proxy does not reach it.; 3 tries$"),
        (Fault(status=503), TransientError, "asks to try again later .503: not ready.: as the fault says; 3 tries$"),
        (Fault(status=504), TransientError, "asks to try again later .504: too slow for a proxy.: .*; 3 tries$"),
        (Fault("reset"), TransientError, "the connection broke: .*reset.*; 3 tries$"),
        (Fault("html"), RemoteError, f"answers with a web page, a login page perhaps: set {TOKEN_VARIABLE}"),
        (
            Fault("html", status=302, headers=(("Location", "https://login.example/auth?state=hush-hush"),)),
            RemoteError,
            "sends us on to https://login.example/auth, a login page perhaps",
        ),
        (Fault("slow", seconds=1.5), TransientError, "no answer within 1 s$"),
    ],
    ids=lambda part: f"{part.kind}-{part.status}" if isinstance(part, Fault) else "",
)
def test_a_fault_is_one_line_that_names_the_server_and_tells_what_to_do(kubeflow, patience, fault, kind, message):
    kubeflow.always = fault
    with pytest.raises(kind, match=message) as caught:
        ask(patience, kubeflow.address)
    text = str(caught.value)
    assert text.startswith(f"Kubeflow Pipelines at {kubeflow.address}")
    assert "\n" not in text
    assert "hush-hush" not in text
    assert len(kubeflow.calls) == (3 if "3 tries" in message else 1)


def test_a_token_that_is_refused_is_told_from_one_that_is_missing(kubeflow, patience, monkeypatch):
    kubeflow.token = "right"
    monkeypatch.setenv(TOKEN_VARIABLE, "wrong")
    with pytest.raises(RemoteError, match=r"does not accept our token \(401\)") as caught:
        ask(patience, kubeflow.address)
    assert "wrong" not in str(caught.value)


def closed_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        (lambda: f"http://127.0.0.1:{closed_port()}", "Connection refused"),
        (lambda: "http://nowhere.invalid", "Failed to resolve 'nowhere.invalid'"),
    ],
    ids=["nothing listens", "no such name"],
)
def test_what_cannot_be_reached_is_not_tried_again(kubeflow, patience, address, reason):
    address = address()
    with pytest.raises(RemoteError, match=f"^Kubeflow Pipelines at {address} cannot be reached: .*{reason}.*is the address right"):
        ask(patience, address)
    assert patience.slept == []


def test_a_certificate_that_is_not_trusted_and_one_that_is(kubeflow, patience, tmp_path):
    file = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=answer_over_tls, args=(listener, context), daemon=True).start()
        address = f"https://localhost:{listener.getsockname()[1]}"
        with pytest.raises(RemoteError, match=r"no safe connection \(TLS\): .*certificate verify failed.*kubeflow.api.ca_file"):
            ask(patience, address)
        assert ask(patience, address, f"kubeflow.api.ca_file={file}").multi_user is False
    with pytest.raises(ConfigError, match="ca_file: no such file"):
        ask(patience, address, "kubeflow.api.ca_file=/gone.pem")
    with pytest.raises(RemoteError, match=r"no safe connection \(TLS\)"):
        ask(patience, kubeflow.address.replace("http:", "https:"))
    assert patience.slept == []


def certificate(folder):
    """A key and a certificate of localhost by nobody, in one file."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + datetime.timedelta(days=1))
    made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    made = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    file = folder / "both.pem"
    file.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain) + made.sign(key, hashes.SHA256()).public_bytes(pem)
    )
    return file


def answer_over_tls(listener, context):
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        try:
            with context.wrap_socket(connection, server_side=True) as safe:
                safe.recv(4096)
                safe.sendall(b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 20\r\n\r\n{"multi_user":false}')
        except OSError:
            pass


@pytest.mark.parametrize(
    ("header", "least"),
    [
        ("7", 7.0),
        ("100000", 120.0),
        (email.utils.formatdate(4102444800, usegmt=True), 120.0),
        ("soon", 1.0),
        ("-5", 1.0),
        ("", 1.0),
    ],
)
def test_the_server_says_how_long_to_wait(kubeflow, patience, header, least):
    kubeflow.faults = {0: Fault(status=429, headers=(("Retry-After", header),))}
    ask(patience, kubeflow.address)
    assert patience.slept == [least]
    assert re.search(f"trying again in {least:.0f} s$", patience.said[0])


@pytest.mark.parametrize("status", [200, 202])
def test_json_that_is_not_kubeflows_is_no_error_of_this_layer(kubeflow, patience, status):
    kubeflow.always = Fault(status=status)
    assert ask(patience, kubeflow.address).multi_user is None


@pytest.mark.parametrize("endpoint", ["ftp://a", "https://user:password@a", "localhost:8888", "http://a/?b=c"])
def test_an_address_that_cannot_be_one_is_refused(endpoint):
    with pytest.raises(ConfigError, match=r"kubeflow\.api\.endpoint"):
        load_config((), [f"kubeflow.api.endpoint={endpoint}"])
