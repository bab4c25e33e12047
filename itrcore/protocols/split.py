"""The test split as a whole: recalls and ranks each way, and rsum. On COCO's 5,000 test images this is the 5K protocol."""

from __future__ import annotations

from itrcore.protocols.contract import Protocol, recalls
from itrcore.ranking import metrics

PROTOCOL = Protocol("The whole test split", recalls(ranked=True), lambda judged: metrics(judged.ranks))
