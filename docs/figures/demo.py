"""Draws the picture of the README: what `make demo` ends with, for one user.

python docs/figures/demo.py demo/store/anime/1 docs/figures/demo.svg
"""

import argparse
import re
from io import StringIO
from pathlib import Path

from rich.console import Console

from anirank.cli.listing import listing
from anirank.contract.ranking_pb2 import RecommendRequest
from handlers.local import LocalRanker

COLUMNS = 110  # of the terminal that is drawn
FONTS = re.compile(r"\s*@font-face \{.*?\}", re.DOTALL)  # that a reader's machine would fetch


def main() -> None:
    """Rank with the bundle, and draw the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--user", type=int, default=366396)
    parser.add_argument("--top", type=int, default=3)
    options = parser.parse_args()
    command = f"anirank rank --user {options.user} --top {options.top} --explain"
    request = RecommendRequest(user_id=options.user, top_k=options.top, explain=True)
    reply = LocalRanker(options.bundle).answer(request)
    console = Console(record=True, width=COLUMNS, file=StringIO(), highlight=False)
    console.print(listing(request, reply))
    picture = FONTS.sub("", console.export_svg(title=command, unique_id="demo"))
    options.picture.write_text(picture, encoding="utf-8")


if __name__ == "__main__":
    main()
