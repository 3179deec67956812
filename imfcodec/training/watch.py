"""Early warnings: values that are not finite, tokens that say nothing, frames worse than standing still."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from imfcodec.training.rollout import Outcome

DEAD_BITS = 0.05  # a token dimension of less entropy is dead
LEAST_LIVE = 0.1  # share of live dimensions below which a warning is due
LOST_DB = 0.5  # frame worse than the unmoved reference by this
_REACH = 8  # larger symbols are counted together


class TokenEntropy:
    """Empirical entropy of each token dimension: each value of g, each cosine coefficient of each channel of u.

    Coefficients are told apart by their frequency up to 4x4, the same for all crop sizes; higher ones are left out.
    """

    FREQUENCIES = 4

    def __init__(self) -> None:
        self._counts: dict[str, Tensor] = {}

    def add(self, outcomes: Iterable[Outcome]) -> None:
        """Count the symbols of predicted frames."""
        for outcome in outcomes:
            if outcome.symbols is not None:
                size = self.FREQUENCIES
                self._count("g", outcome.symbols.g)
                self._count("u", outcome.symbols.u[..., :size, :size].flatten(1))

    def live_shares(self) -> dict[str, float]:
        """Share of dimensions of g and u above `DEAD_BITS`, of the symbols since the last call."""
        shares = {name: float((_entropy(counts) > DEAD_BITS).float().mean()) for name, counts in self._counts.items()}
        self._counts.clear()
        return shares

    def _count(self, name: str, symbols: Tensor) -> None:
        bins = (symbols.detach().clamp(-_REACH, _REACH) + _REACH).long().t()  # [dimensions, B]
        known = self._counts.get(name)
        if known is None or len(known) != len(bins):
            known = torch.zeros(len(bins), 2 * _REACH + 1, device=symbols.device)
        self._counts[name] = known.scatter_add(1, bins, torch.ones_like(bins, dtype=known.dtype))


def _entropy(counts: Tensor) -> Tensor:
    """Bits per symbol of each row of counts."""
    shares = counts / counts.sum(1, keepdim=True).clamp_min(1)
    return -(shares * shares.clamp_min(1e-12).log2()).sum(1)


def find_problems(figures: dict[str, float]) -> list[str]:
    """One line for each thing in a log entry that should not be so; empty when all is well."""
    problems = [f"{name} is not finite" for name, value in figures.items() if not math.isfinite(value)]
    for name in ("g", "u"):
        if (share := figures.get(f"live/{name}", 1.0)) < LEAST_LIVE:
            problems.append(f"dead tokens: {share:.0%} of {name}'s dimensions carry more than {DEAD_BITS} bit")
    for name, decoded in figures.items():
        still = figures.get(name.replace("/psnr_y", "/copy_psnr_y"), -math.inf)
        if name.endswith("/psnr_y") and decoded < still - LOST_DB:
            problems.append(f"collapse: {name} {decoded:.1f} dB is below the unmoved reference, {still:.1f} dB")
    return problems
