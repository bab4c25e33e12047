"""What an ensemble costs: the sums of its members' times and memory.

They are worked out where they are shown, not in the ensemble's results: other times alone make no ensemble again.
"""

from __future__ import annotations

from collections.abc import Sequence

from itrcore.runs.records import Efficiency, Evaluation, Search

_TIMES = ("encode_image_ms", "encode_caption_ms", "score_image_ms", "score_caption_ms")


def with_costs(ensemble: Evaluation, members: Sequence[Evaluation]) -> Evaluation:
    """The ensemble with the costs of its members, which encode and search one after the other.

    Without them where a member was not measured, or on another device or with other threads than the first.
    """
    known = [member.efficiency for member in members if member.efficiency is not None]
    if not known or len(known) < len(ensemble.members) or len({(one.device, one.threads) for one in known}) > 1:
        return ensemble
    searches = [
        Search(gallery=of_size[0].gallery, ms=sum(s.ms for s in of_size), measured=all(s.measured for s in of_size))
        for of_size in zip(*(one.searches for one in known), strict=True)
    ]
    efficiency = Efficiency(
        embeds=all(one.embeds for one in known),
        image_bytes=sum(one.image_bytes for one in known),
        caption_bytes=sum(one.caption_bytes for one in known),
        searches=tuple(searches),
        device=known[0].device,
        threads=known[0].threads,
    )
    taken = {key: [getattr(member, key) for member in members] for key in _TIMES}
    times = {key: sum(values) for key, values in taken.items() if None not in values}
    return ensemble.model_copy(update={"efficiency": efficiency, **times})
