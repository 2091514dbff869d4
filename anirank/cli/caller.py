"""The options of commands that call a façade: what they trust, and what they show."""

from pathlib import Path
from typing import Annotated

import typer

TlsCa = Annotated[
    Path | None, typer.Option(help="PEM of the authorities that vouch for the façade: TLS.")
]
TlsCert = Annotated[
    Path | None, typer.Option(help="PEM of a certificate to show a façade that asks.")
]
TlsKey = Annotated[Path | None, typer.Option(help="PEM of its private key.")]
TokenFile = Annotated[
    Path | None,
    typer.Option(help="File of the bearer token to show. [default: what ANIRANK_TOKEN holds]"),
]
