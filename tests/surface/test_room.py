"""Keys and values that grow in place are those that copies would be."""

import torch

from lens_rome.surface.room import Room


def test_what_is_appended_in_pieces_of_any_length_is_there_in_order_and_not_copied() -> None:
    pieces = [torch.randn(2, 3, n, 4, generator=torch.Generator().manual_seed(n)) for n in (5, 1, 11, 1, 40, 2)]
    room, places = Room(), set()
    for i, piece in enumerate(pieces):
        held = room.append(piece)
        assert torch.equal(held, torch.cat(pieces[: i + 1], 2))
        places.add(held.data_ptr())
    assert len(places) < len(pieces)
