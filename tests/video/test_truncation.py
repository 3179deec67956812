from imfcodec.video.truncation import ends_early, matroska_ends_early, y4m_ends_early

EBML = b"\x1a\x45\xdf\xa3\x84abcd"
SEGMENT = b"\x18\x53\x80\x67"


def test_y4m_length_is_counted_in_whole_frames():
    head = b"YUV4MPEG2 W2 H2\nFRAME\n"
    assert not y4m_ends_early(head, 16 + 3 * 12, 3, 6)
    assert y4m_ends_early(head, 16 + 3 * 12 + 1, 3, 6)
    assert not y4m_ends_early(b"YUV4MPEG2 W2 H2\nFRAME Ip\n", 999, 3, 6)


def test_matroska_segment_size_is_compared_with_the_file():
    head = EBML + SEGMENT + b"\x40\x64"  # 100 bytes, size written in two
    assert not matroska_ends_early(head, len(head) + 100)
    assert matroska_ends_early(head, len(head) + 99)


def test_boxes_and_chunks_are_added_up(tmp_path):
    boxes = b"\0\0\0\x10ftypisom\0\0\0\0" + b"\0\0\0\x01mdat\0\0\0\0\0\0\0\x18" + bytes(8)
    chunks = b"RIFF\x0c\0\0\0AVI LIST" + bytes(4)
    packets = (b"\x47" + bytes(187)) * 12
    objects = bytes.fromhex("3026b2758e66cf11") + bytes(8) + (30).to_bytes(8, "little") + bytes(6)
    pages = b"OggS" + bytes(22) + b"\2\5\3" + bytes(8)
    for whole in (boxes, chunks, packets, objects, pages, pages + pages, b"GIF89a" + bytes(9) + b";"):
        for data, early in ((whole, False), (whole[:-1], True)):
            (tmp_path / "file").write_bytes(data)
            assert ends_early(tmp_path / "file") == early
    for data in (boxes[:16] + b"\0\0\0\0mdat", chunks.replace(b"\x0c", b"\0"), b"", b"\x47" * 9):
        (tmp_path / "file").write_bytes(data)
        assert not ends_early(tmp_path / "file")


def test_unknown_sizes_and_other_files_are_let_through():
    assert not matroska_ends_early(EBML + SEGMENT + b"\x01" + b"\xff" * 7, 20)
    for head in (b"", b"\x1a\x45\xdf\xa3", EBML, EBML + SEGMENT, b"\0" * 50, EBML + SEGMENT + b"\0" * 9):
        assert not matroska_ends_early(head, 1)
