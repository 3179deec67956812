"""Benchmark results and their page, made once for all tests of the page."""

import pytest


@pytest.fixture(scope="session")
def bench(tmp_path_factory):
    """Results with everything in them."""
    from bench_samples import sample_bench

    return sample_bench(tmp_path_factory.mktemp("media"))


@pytest.fixture(scope="session")
def page(bench, tmp_path_factory):
    """The page of the full results."""
    pytest.importorskip("plotly")
    pytest.importorskip("markdown")
    from imfcodec.evaluation.page import write_page

    path = tmp_path_factory.mktemp("page") / "bench.html"
    write_page(path, bench)
    return path
