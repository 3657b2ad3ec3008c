"""`plait forget`: delete all that the gateway keeps of shoppers."""

from typing import Any

import click

from cli.client import Gateway
from cli.failures import UserError
from cli.options import example, gateway_options
from cli.output import console, counted, print_json
from plait.v1.profile_service_pb2 import DeleteProfileRequest, DeleteProfileResponse


@click.command(epilog=example("plait forget 718", "plait forget 718 719 --yes"))
@click.argument("users", nargs=-1, required=True, metavar="USER...")
@click.option("--yes", "-y", is_flag=True, help="Do not ask first.")
@gateway_options
def forget_command(users: tuple[str, ...], *, yes: bool, **options: Any) -> None:
    """Delete all that the gateway keeps of each USER, for good.

    That is every event, the rankings for further pages, and the lines of the exposure log.
    Data that Plait was seeded from or is trained on is the shop's, and is not touched.
    """
    if not yes:
        click.confirm(f"Delete all that is kept of {', '.join(users)}, for good?", abort=True)
    total = DeleteProfileResponse()
    with Gateway(options["gateway"], options["timeout"]) as gateway:
        for number, user in enumerate(users):
            try:
                answer = gateway.call(
                    gateway.profiles.DeleteProfile, DeleteProfileRequest(user_id=user)
                )
            except UserError as error:
                if not number:
                    raise
                said = f"{error.message} ({number} of {len(users)} were forgotten before)"
                raise type(error)(said) from None
            total.deleted_event_count += answer.deleted_event_count
            total.deleted_exposure_count += answer.deleted_exposure_count
    if options["as_json"]:
        print_json(total)
        return
    events = counted(total.deleted_event_count, "event")
    lines = counted(total.deleted_exposure_count, "line")
    console().print(f"{events} and {lines} of the exposure log deleted")
