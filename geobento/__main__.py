"""``python -m geobento``."""

from geobento.cli import main

main(prog_name="geobento")
