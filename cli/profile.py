"""`plait profile`: what is known of a shopper, as of this second, to be read by a person."""

from typing import Any

import click

from cli.client import Gateway
from cli.options import event, event_option, example, gateway_options
from cli.output import console, print_json
from cli.profile_view import profile_view
from plait.v1.profile_service_pb2 import GetProfileRequest


@click.command(
    epilog=example(
        "plait profile 718",
        "plait profile somebody-new --event view:1029743 --event cart:995242",
        "plait profile 718 --json",
    )
)
@click.argument("user")
@event_option
@gateway_options
def profile_command(user: str, **options: Any) -> None:
    """Show what is known of USER: likes, prices, how often they come, what they do now."""
    request = GetProfileRequest(user_id=user, events=[event(text) for text in options["events"]])
    with Gateway(options["gateway"], options["timeout"]) as gateway:
        profile = gateway.call(gateway.profiles.GetProfile, request).profile
    if options["as_json"]:
        print_json(profile)
        return
    console().print(profile_view(profile))
