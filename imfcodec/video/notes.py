"""What a reader tells its user about a source: one line each, for what is not taken over or not as it should be."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import BinaryIO

from imfcodec.video.journal import Journal
from imfcodec.video.timeline import Timeline
from imfcodec.video.tracks import Track

Say = Callable[[str], None]


class Notes:
    """Hands lines about a file to whoever listens, each line once."""

    def __init__(self, place: str | Path | BinaryIO, say: Say | None) -> None:
        self._name = str(place) if isinstance(place, str | Path) else str(getattr(place, "name", "stream"))
        self._say = say
        self._said: set[str] = set()

    def __call__(self, lines: Iterable[str]) -> None:
        """Say the lines, with the file's name before them."""
        for line in lines:
            if self._say and line not in self._said:
                self._say(f"{self._name}: {line}")
            self._said.add(line)


def container_notes(left: Sequence[Track], chapters: int, pages: int = 0) -> list[str]:
    """Lines about tracks, chapters and further pages of a picture that are left out."""
    notes = []
    if left:
        notes.append(f"left out: {', '.join(map(str, left))}; `imfcodec info` lists all tracks")
    if chapters:
        notes.append(f"left out: {chapters} chapter{'s' * (chapters > 1)}")
    if pages:
        notes.append(f"left out: {pages} page{'s' * (pages > 1)} after the first; a series of files holds them all")
    return notes


def picture_notes(journal: Journal, timeline: Timeline, deinterlace: bool | None) -> list[str]:
    """Lines about what the pictures are, what is wrong with them and what is done about it."""
    notes = []
    if journal.interlaced and deinterlace is None:
        notes.append("interlaced: deinterlaced with bwdif, one picture a frame (--no-deinterlace keeps the fields)")
    elif journal.interlaced and deinterlace is False:
        notes.append("interlaced, coded as if it were not: moving edges will show combs")
    if journal.extras:
        notes.append(f"left out: {', '.join(journal.extras)}")
    if len(journal.sizes) > 1:
        sizes = [f"{width}x{height}" for width, height in journal.sizes]
        notes.append(f"the size changes ({', '.join(sizes[:4])}): everything is scaled to {sizes[0]}")
    if len(journal.aspects) > 1:
        shapes = [f"{aspect.numerator}:{aspect.denominator}" for aspect in journal.aspects]
        notes.append(f"the shape of a pixel changes ({', '.join(shapes[:4])}): only one is kept")
    if journal.foreign_sound:
        own, *others = [next(iter(journal.sound_codecs)), *journal.foreign_sound]
        notes.append(f"its sound changes from '{own}' to '{others[0]}' midway: only what is in '{own}' is taken over")
    if jumps := journal.discontinuities or timeline.jumps:
        times = f"{jumps} times" if jumps > 1 else "once"
        notes.append(f"its time stamps jump {times}: they go on from there without a gap")
    return notes + damage_notes(journal, len(timeline.repeats))


def damage_notes(journal: Journal, repeated: int) -> list[str]:
    """Lines about damage."""
    notes = []
    if journal.damaged or repeated:
        notes.append(describe_damage(len(journal.damaged), repeated))
    if journal.damaged_sound:
        notes.append(f"{journal.damaged_sound} damaged packets of sound")
    if journal.complaints:
        notes.append(f"damaged, frames may be lost or wrong ({journal.complaints[0][:60]})")
    if journal.cut_off:
        notes.append(f"cut off: what there is ends after {len(journal.stamps.times)} frames; get the file again")
    return notes


def describe_damage(damaged: int, repeated: int) -> str:
    """How many frames are damaged, and what is shown for them, in a few words."""
    frames = f"{damaged} damaged frame{'s' * (damaged != 1)}"
    if repeated == damaged:
        return f"{frames} repeated"
    return f"{frames}, {repeated} repeated" if repeated else f"{frames} concealed"
