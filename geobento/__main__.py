"""``python -m geobento``."""

from geobento.cli.app import main

main(prog_name="geobento")
