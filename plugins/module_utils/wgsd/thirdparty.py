# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The only place where the engine imports libraries that are not Python's own.

Ansible imports ``module_utils`` on hosts that may not have them yet. A missing library is then
replaced by an object that raises `DependencyError`, with the Debian package to install, on its
first use. So nothing of these libraries may be used while a module is being imported.

What few processes need, and takes long to load, is not loaded before its first use either.
"""

from __future__ import annotations

import importlib
import typing as t

from .errors import DependencyError

if t.TYPE_CHECKING:
    import cryptography
    import cryptography.hazmat.primitives.asymmetric.ec
    import cryptography.hazmat.primitives.asymmetric.utils
    import cryptography.hazmat.primitives.hashes
    import cryptography.hazmat.primitives.serialization
    import dns
    import dns.edns
    import dns.exception
    import dns.flags
    import dns.message
    import dns.name
    import dns.opcode
    import dns.rcode
    import dns.rdata
    import dns.rdataclass
    import dns.rdataset
    import dns.rdatatype
    import dns.rdtypes.ANY.TSIG
    import dns.rrset
    import dns.tsig
    import dns.update
    import dns.xfr
    import dns.zone
    import prometheus_client
    import prometheus_client.core
    import pyroute2
    import yaml
    from dns import asyncquery as dns_asyncquery
    from dns import dnssec
    from dns import query as dns_query
else:

    class _Missing:
        """Stands in for a library that is not installed."""

        def __init__(self, library: str, package: str, reason: ImportError) -> None:
            self._text = (library, package, reason)

        def __getattr__(self, name: str) -> t.NoReturn:
            library, package, reason = self._text
            raise DependencyError(
                f"the Python library {library} cannot be imported ({reason})",
                f"install it, on Debian with: apt install {package}",
            )

    class _Later:
        """Loads a library at its first use."""

        def __init__(self, library: str, package: str, *modules: str) -> None:
            self._names = (library, package, modules)

        def __getattr__(self, name: str) -> t.Any:
            library, package, modules = self._names
            try:
                for module in modules:
                    importlib.import_module(module)
                return getattr(importlib.import_module(library), name)
            except ImportError as exc:
                return getattr(_Missing(library, package, exc), name)

    cryptography = _Later(
        "cryptography",
        "python3-cryptography",
        "cryptography.hazmat.primitives.asymmetric.ec",
        "cryptography.hazmat.primitives.asymmetric.utils",
        "cryptography.hazmat.primitives.hashes",
        "cryptography.hazmat.primitives.serialization",
    )
    #: dnspython's parts that load cryptography, TLS and asyncio.
    dnssec = _Later("dns.dnssec", "python3-dnspython")
    dns_query = _Later("dns.query", "python3-dnspython")
    dns_asyncquery = _Later("dns.asyncquery", "python3-dnspython")
    prometheus_client = _Later(
        "prometheus_client", "python3-prometheus-client", "prometheus_client.core"
    )
    pyroute2 = _Later("pyroute2", "python3-pyroute2")

    try:
        import dns
        import dns.edns
        import dns.exception
        import dns.flags
        import dns.message
        import dns.name
        import dns.opcode
        import dns.rcode
        import dns.rdata
        import dns.rdataclass
        import dns.rdataset
        import dns.rdatatype
        import dns.rdtypes.ANY.TSIG
        import dns.rrset
        import dns.tsig
        import dns.update
        import dns.xfr
        import dns.zone
    except ImportError as exc:
        dns = _Missing("dnspython", "python3-dnspython", exc)

    try:
        import yaml
    except ImportError as exc:
        yaml = _Missing("PyYAML", "python3-yaml", exc)

__all__ = [
    "cryptography",
    "dns",
    "dns_asyncquery",
    "dns_query",
    "dnssec",
    "prometheus_client",
    "pyroute2",
    "yaml",
]
