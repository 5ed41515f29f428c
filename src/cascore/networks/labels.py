"""What the score networks share about classes: one vector for each, and one for no class."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from cascore.errors import InputError


class LabelEmbedding(nn.Module):
    """A learned vector for each class and one for no class; all start at 0, as if there were none.

    Args:
        classes: how many classes there are, at least 1.
        width: the length of a vector.
    """

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        self.table = nn.Embedding(classes + 1, width)
        nn.init.zeros_(self.table.weight)

    def forward(self, label: Tensor | None, count: int) -> Tensor:
        """Vectors [count, width] of labels, int64 [count] or a scalar; negative and None: none."""
        none = self.table.num_embeddings - 1
        if label is None:
            label = torch.full((), none, device=self.table.weight.device)
        vectors: Tensor = self.table(torch.where(label < 0, none, label).expand(count))
        return vectors

    def keep_rows(self, rows: Sequence[int]) -> None:
        """Have the vectors of these rows, in this order, of which the last is that of no class."""
        vectors = self.table.weight.detach()[list(rows)]
        self.table = nn.Embedding(len(rows), vectors.shape[1], _weight=vectors)


def require_no_label(label: Tensor | None) -> None:
    """Refuse a label for a network that was built without classes."""
    if label is not None:
        raise InputError(
            "the network was built without classes, so it takes no label: build it with `classes`,"
            " or leave the label out"
        )
