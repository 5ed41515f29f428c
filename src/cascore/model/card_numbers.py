"""The numbers of a model card: a table of evaluations of the very weights that it describes."""

from collections.abc import Sequence

from cascore.errors import InputError
from cascore.measurement import Measurement
from cascore.model.record import ModelRecord

__all__ = ["numbers_table"]

_COLUMNS = ("what", "sampler", "calls", "pictures", "against", "value", "real images score")


def numbers_table(model: ModelRecord, measured: Sequence[Measurement]) -> str:
    """A Markdown table of records, denoised samples alone; empty if there are none.

    Raises:
        InputError: a record of other weights than the model's.
    """
    rows = [_row(each) for each in measured if _is_of(each, model) and each.images.form != "raw"]
    if not rows:
        return ""
    lines = [_COLUMNS, ("---",) * 2 + ("---:",) * 2 + ("---",) + ("---:",) * 2, *rows]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    seen = sorted({_features(each) for each in measured if each.extractor is not None})
    return (
        f"{table}\n\nDenoised samples. ± is one standard error; in the last column it is the"
        " spread of single measurements of real images at the same counts, and ~ marks what is"
        " extrapolated. Copying: distance to the nearest training image over that to held-out ones."
        f" {'; '.join(seen)}. Numbers of other features or counts do not compare."
    )


def _is_of(record: Measurement, model: ModelRecord) -> bool:
    found = None if record.model is None else record.model.digest
    if found not in (model.digest, model.source.get("sha256")):
        raise InputError(
            f"a record of {record.images.path} is of other weights ({str(found)[:12]}...), not of"
            f" {str(model.source.get('sha256'))[:12]}...: evaluate the newest checkpoint"
        )
    return True


def _row(record: Measurement) -> tuple[str, ...]:
    sampler = record.sampler
    settings = {} if sampler is None else sampler.settings
    knobs = ("kappa", "eta", "epsilon")
    knob = next((f", {n} {settings[n]}" for n in knobs if settings.get(n) is not None), "")
    order = f" order {settings.get('order')}" if settings.get("method") == "cas" else ""
    levels = f", {settings['spacing']} levels" if "spacing" in settings else ""
    against = ", ".join(
        f"{'' if each.count is None else f'{each.count:,} '}{each.split or each.name}"
        for each in record.references
    )
    floor = record.floor
    return (
        record.label,
        f"{str(settings.get('method', '')).upper()}{order}{knob}{levels}",
        "" if sampler is None else f"{sampler.nfe:,}",
        f"{record.images.count:,}",
        against,
        _value(record.value, record.error),
        "" if floor is None else "~" * floor.extrapolated + _value(floor.mean, floor.spread),
    )


def _value(value: float | None, error: float | None) -> str:
    if value is None:
        return "infinite"
    return f"{value:.4g}" + ("" if error is None else f" ± {error:.2g}")


def _features(record: Measurement) -> str:
    assert record.extractor is not None
    return f"Features of {record.extractor.name} ({record.extractor.digest[:12]})"
