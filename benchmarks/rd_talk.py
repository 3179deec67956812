"""Rate-distortion of imfcodec and of general codecs on a folder of clips.

    python benchmarks/rd_talk.py CLIPS --frames 250 --qualities 10 30 50 70 90 --out benchmarks/results/v0.1 --jobs 2

Writes OUT/rd_talk.tsv, one row per clip, codec and setting, saved after each; a second run does only what is missing.
OUT/rd_talk.md is the summary of all rows.
"""

import argparse
import sys
from pathlib import Path

from imfcodec.errors import ImfError
from imfcodec.evaluation.codecs import GeneralCodec, ImfCodec
from imfcodec.evaluation.report import read_table
from imfcodec.evaluation.summary import summarise
from imfcodec.evaluation.sweep import SweepTask, find_clips, plan_sweep, run_sweep
from imfcodec.video.peercodecs import PEER_CODECS, available_peer_codecs


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path, help="folder of video files")
    parser.add_argument("--out", type=Path, required=True, help="folder for rd_talk.tsv and rd_talk.md")
    parser.add_argument("--frames", type=int, default=250, help="frames from the start of each clip (250)")
    parser.add_argument("--qualities", type=int, nargs="+", default=[10, 30, 50, 70, 90], help="of imfcodec, 0 to 100")
    parser.add_argument("--only", choices=["imfcodec", "peers"], help="do one part")
    parser.add_argument("--peers", nargs="+", choices=list(PEER_CODECS), help="general codecs (all this FFmpeg has)")
    parser.add_argument("--jobs", type=int, default=1, help="processes, one thread each (1)")
    parser.add_argument("--redo", action="store_true", help="also do again what the table holds")
    return parser.parse_args()


def plan(arguments: argparse.Namespace) -> list[SweepTask]:
    """The tasks the command line asks for, peers first."""
    clips = find_clips(arguments.clips)
    tasks: list[SweepTask] = []
    if arguments.only != "imfcodec":
        peers = [GeneralCodec(name) for name in arguments.peers or available_peer_codecs()]
        tasks += plan_sweep(clips, peers, arguments.frames)
    if arguments.only != "peers":
        tasks += plan_sweep(clips, [ImfCodec(arguments.qualities)], arguments.frames)
    return tasks


def main() -> int:
    """Run the sweep and write the summary; 1 if a task failed."""
    arguments = parse_arguments()
    table = arguments.out / "rd_talk.tsv"
    try:
        arguments.out.mkdir(parents=True, exist_ok=True)
        succeeded = run_sweep(plan(arguments), table, workers=arguments.jobs, redo=arguments.redo)
        (arguments.out / "rd_talk.md").write_text(summarise(read_table(table).points), encoding="utf-8")
    except ImfError as error:
        print(f"rd_talk: {error}", file=sys.stderr)
        return error.exit_code
    return 0 if succeeded else 1


if __name__ == "__main__":
    sys.exit(main())
