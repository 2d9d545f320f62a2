"""`curiosity up`: the demo's network, left running."""

import shutil
import threading

from node.demo.report import Report
from node.demo.run import Options, finish, play
from node.demo.stage import open_stage
from node.screen import Screen

UP = "up"  # below the demo's folder; kept from one run to the next
_PLAYED = "played"  # this file marks a run that came to its end, so that it can be taken up again


def up(options: Options, screen: Screen, *, epoch_s: int, fresh: bool) -> None:
    """Run the demo if it has not come to its end here, then keep chain and validator up until Ctrl-C or SIGTERM."""
    run = options.folder / UP
    if fresh or not (run / _PLAYED).exists():
        shutil.rmtree(run, ignore_errors=True)
    report = Report(screen)
    with open_stage(run, report, port=options.port, chain_port=options.chain_port, epoch_s=epoch_s) as made:
        if (run / _PLAYED).exists():
            with report.step("validator", "The validator, with the ledger that was there"):
                made.validator.start()
        else:
            play(made, options)
            finish(report, options.out)
            (run / _PLAYED).touch()
        facts = made.validator.facts
        screen.say(
            f"\nRunning. Validator: {facts['url']}   chain: {made.chain.rpc_url}   settings: {run / 'curiosity.toml'}\n"
            f"Receipt key: {facts['receipt_vkey']}\n"
            f"An epoch closes every {epoch_s} s when there is something to pay.\n"
            "In another terminal, for example:\n"
            "  curiosity wallet new alice\n"
            "  curiosity wallet fund alice\n"
            "  curiosity submit my-pictures/ --wallet alice --license CC-BY-4.0\n"
            '  curiosity query "a red heart"\n'
            "Ctrl-C stops it; the next `curiosity up` goes on from here."
        )
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            screen.say("Stopping.")
