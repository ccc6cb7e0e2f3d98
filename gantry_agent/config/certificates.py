"""The TLS side of the site file: the authorities and the client certificate that uploads go by.

A file that does not do is a fault at its place; nothing is connected here.
"""

import ssl
from pathlib import Path

from gantry_agent.config import schema
from gantry_agent.config.complaints import Complaints


def upload_tls(cloud: schema.Cloud, complaints: Complaints) -> ssl.SSLContext | None:
    """Load the authorities and the client certificate that uploads go by; a file that does not do is a fault."""
    if cloud.ca_file is None and cloud.client_cert is None and cloud.client_key is None:
        return None
    context = ssl.create_default_context()
    if cloud.ca_file is not None and complaints.readable(("cloud", "ca_file"), Path(cloud.ca_file)) is not None:
        # The private authority alone: a public one could vouch for anybody who takes the cloud's address.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            context.load_verify_locations(cloud.ca_file)
        except (ssl.SSLError, OSError):
            complaints.add(
                ("cloud", "ca_file"),
                f"{cloud.ca_file} 中没有 PEM 格式的证书",
                f"cannot use {cloud.ca_file}: it has no certificate in PEM form",
            )
    if cloud.client_key is not None and cloud.client_cert is None:
        complaints.add(("cloud", "client_key"), "缺少 client_cert", "client_key needs a client_cert")
    elif cloud.client_cert is not None:
        _client_certificate(complaints, context, cloud.client_cert, cloud.client_key)
    return context


def _client_certificate(complaints: Complaints, context: ssl.SSLContext, cert: str, key: str | None) -> None:
    """Load it; the key may stand in the certificate's file."""
    names = ("client_cert", "client_key")
    texts = [
        complaints.readable(("cloud", name), Path(file)) for name, file in zip(names, (cert, key), strict=True) if file
    ]
    if None in texts:
        return
    try:
        context.load_cert_chain(cert, key, password=lambda: "")
    except (ssl.SSLError, OSError, ValueError) as e:
        why = getattr(e, "reason", None) or str(e)
        complaints.add(
            ("cloud", "client_cert"),
            f"{cert} 与 {key or cert} 不是配对的 PEM 证书和未加密私钥（{why}）",
            f"cannot use {cert} with {key or cert}: not a PEM certificate and its unencrypted key ({why})",
        )
