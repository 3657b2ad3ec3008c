"""Plait in one process: the gateway with the four models beside it.

What `plait up --embedded` starts, and where both sides meet: the gateway knows no
service, and no service knows the gateway. Settings are those of the five processes.
"""

import os
import sys
from collections.abc import Collection, Mapping, Sequence

from services.runtime.early import prepare

if __name__ == "__main__":  # as in gateway/__main__.py, and in nobody else's process
    prepare("gateway")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from cli.topology import GATEWAY, SOURCES
from gateway.app import GatewayApplication
from gateway.config import GatewayConfig
from gateway.embedded import EmbeddedLink
from services.cf.server import SOURCE as CF
from services.cf.server import Config as CfConfig
from services.content.server import SOURCE as CONTENT
from services.content.server import Config as ContentConfig
from services.runtime.config import load
from services.runtime.process import run
from services.runtime.service import ServiceConfig, limits
from services.runtime.source import Source
from services.sequence.server import SOURCE as SEQUENCE
from services.sequence.server import Config as SequenceConfig
from services.text.server import SOURCE as TEXT
from services.text.server import Config as TextConfig

_MODELS: Mapping[str, tuple[Source, type[ServiceConfig]]] = dict(
    zip(
        SOURCES,
        ((CF, CfConfig), (CONTENT, ContentConfig), (SEQUENCE, SequenceConfig), (TEXT, TextConfig)),
        strict=True,
    )
)


def links(environ: Mapping[str, str], names: Collection[str]) -> dict[str, EmbeddedLink]:
    """Return the sources of these names that have models here, not loaded; raises ConfigError."""
    made = {}
    for name, (source, config_class) in _MODELS.items():
        if name not in names:
            continue
        config = load(config_class, name, environ)
        made[name] = EmbeddedLink(
            source, config.repository, limits(config), version=config.version, beside=config.beside
        )
    return made


def main(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Serve until a signal; return the exit code."""
    return run(
        GATEWAY,
        GatewayConfig,
        lambda config: GatewayApplication(config, links(environ, config.addresses())),
        argv=argv,
        environ=environ,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
