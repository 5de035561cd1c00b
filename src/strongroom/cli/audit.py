"""`strongroom audit`: prove that the audit log is whole; write the log of all nodes into files."""

import argparse
from pathlib import Path

from strongroom import app
from strongroom.cli.parsers import Commands, config_of


def add_to(commands: Commands) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("audit", help="the audit log")
    actions = parser.add_subparsers(required=True, metavar="action")
    verify = actions.add_parser("verify", help="prove that nothing was removed, changed, reordered or forged")
    source = verify.add_mutually_exclusive_group(required=True)
    source.add_argument("--config", type=Path, help="verify records and digests, with the installation's keys")
    source.add_argument("--log", type=Path, help="verify a copy of the audit directory by its digests alone")
    verify.add_argument("--public-key", type=Path, help="audit-public-key.pem of the installation; with --log")
    verify.set_defaults(run=run, usage=verify.error)
    export = actions.add_parser("export", help="write the log of all nodes into files, as on one machine")
    export.add_argument("--config", type=Path, required=True)
    export.add_argument("--to", type=Path, required=True, help="a directory that is not there yet")
    export.set_defaults(run=run_export)


def run_export(arguments: argparse.Namespace) -> int:
    """Write the log, and say how much it was."""
    chains = app.export_audit(config_of(arguments), arguments.to)
    print(f"Wrote {chains} chains to {arguments.to}")
    return 0


def run(arguments: argparse.Namespace) -> int:
    """Print what was found; exit code 1 if the log is not whole."""
    if (arguments.log is None) != (arguments.public_key is None):
        arguments.usage("--log and --public-key go together")
    if arguments.log is not None:
        report = app.verify_audit_offline(arguments.log, arguments.public_key)
    else:
        report = app.verify_audit(config_of(arguments))
    for finding in report.findings:
        where = f"{finding.chain_id}/{finding.file}" if finding.file else finding.chain_id
        print(f"WRONG  {finding.kind}: {where} {finding.message}")
    if report.unsigned:
        print(
            f"note   {report.unsigned} of {report.segments} segments have no digest yet: their records were not checked"
        )
    print(
        f"{report.chains} chains, {report.segments} segments, {report.records} records: {len(report.findings)} findings"
    )
    return 1 if report.findings else 0
