"""Decodes what Hydrant compressed with snappy, written from the formats' descriptions.

    snappy_decode.py xerial|hadoop FILE      writes the content to standard output

Framings: SnappyOutputStream of xerial/snappy-java and BlockCompressorStream of Hadoop. Blocks:
format_description.txt of google/snappy. Where cramjam is installed it must agree on each block.
"""

import struct
import sys

try:
    import cramjam
except ImportError:
    cramjam = None

XERIAL_HEADER = b"\x82SNAPPY\x00" + struct.pack(">II", 1, 1)
BLOCK_BYTES_MAX = 32 * 1024


def raw_block(block):
    """The content of one raw snappy block."""
    size, shift, at = 0, 0, 0
    while True:
        byte = block[at]
        at += 1
        size |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            break
    out = bytearray()
    while at < len(block):
        tag = block[at]
        at += 1
        kind = tag & 3
        if kind == 0:
            length = tag >> 2
            if length >= 60:
                extra = length - 59
                length = int.from_bytes(block[at : at + extra], "little")
                at += extra
            length += 1
            assert at + length <= len(block), "a literal passes the end"
            out += block[at : at + length]
            at += length
            continue
        if kind == 1:
            length = 4 + (tag >> 2 & 7)
            offset = tag >> 5 << 8 | block[at]
            at += 1
        else:
            length = 1 + (tag >> 2)
            width = 2 if kind == 2 else 4
            offset = int.from_bytes(block[at : at + width], "little")
            at += width
        assert 0 < offset <= len(out), "a copy begins before the start"
        for _ in range(length):
            out.append(out[-offset])
    assert len(out) == size, f"a block of {size} bytes has {len(out)}"
    if cramjam is not None:
        assert bytes(cramjam.snappy.decompress_raw(bytes(block))) == out, "cramjam differs"
    return bytes(out)


def take(data, at, length):
    assert at + length <= len(data), "the stream is cut"
    return data[at : at + length], at + length


def number(data, at):
    taken, at = take(data, at, 4)
    return struct.unpack(">I", taken)[0], at


def xerial(data):
    header, at = take(data, 0, len(XERIAL_HEADER))
    assert header == XERIAL_HEADER, "not a snappy-java stream"
    while at < len(data):
        length, at = number(data, at)
        block, at = take(data, at, length)
        content = raw_block(block)
        assert len(content) <= BLOCK_BYTES_MAX
        yield content


def hadoop(data):
    at = 0
    while at < len(data):
        wanted, at = number(data, at)
        assert 0 < wanted <= BLOCK_BYTES_MAX
        while wanted > 0:
            length, at = number(data, at)
            block, at = take(data, at, length)
            content = raw_block(block)
            wanted -= len(content)
            yield content
        assert wanted == 0, "a block is longer than it says"


def main():
    framing, path = sys.argv[1:]
    with open(path, "rb") as file:
        data = file.read()
    for content in {"xerial": xerial, "hadoop": hadoop}[framing](data):
        sys.stdout.buffer.write(content)


main()
