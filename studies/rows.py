"""A study's trials as rows, read in four plain queries (Optuna's objects take ten times as long to make)."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from optuna.distributions import json_to_distribution
from optuna.storages._rdb import models
from optuna.trial import TrialState
from sqlalchemy import select

from studies.owner import Owner

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

PREFIX = "lanewise."


@dataclass(frozen=True)
class Row:
    """One trial as the database knows it.

    Attributes
    ----------
    trial_id
        Optuna's own key of it.
    state
        An outcome (see `studies.store`), or `waiting`, `running`, `interrupted`, `untimed`.
    point
        What a sampler drew.
    step
        Training step at its latest heartbeat.
    needs
        `timing` when all but that is done.
    """

    trial_id: int
    number: int
    arm: str
    state: str
    values: tuple[float, ...] | None
    reason: str | None
    seconds: float | None
    duplicate_of: int | None
    config_hash: str | None
    provenance: Mapping[str, str] | None
    point: Mapping[str, Any]
    owner: Owner | None
    step: int | None
    needs: str | None
    deaths: int
    death_step: int

    @property
    def waits(self) -> bool:
        """Whether a worker may take it."""
        return self.state in ("waiting", "interrupted", "untimed")


def read_rows(
    session: "Session",
    study_id: int,
    trial_id: int | None = None,
    states: Sequence[TrialState] = (),
    config_hash: str | None = None,
) -> list[Row]:
    """Return every trial of a study, by number; or the one trial asked for, or those in some of Optuna's states, or
    those of some settings."""
    only = models.TrialModel.study_id == study_id
    if trial_id is not None:
        only &= models.TrialModel.trial_id == trial_id
    if config_hash is not None:
        noted = models.TrialUserAttributeModel
        same = (noted.key == PREFIX + "config_hash") & (noted.value_json == json.dumps(config_hash))
        only &= models.TrialModel.trial_id.in_(select(noted.trial_id).where(same))
    if states:
        only &= models.TrialModel.state.in_(states)
    trial, attribute, value, param = (
        models.TrialModel,
        models.TrialUserAttributeModel,
        models.TrialValueModel,
        models.TrialParamModel,
    )

    def of_study(model: Any, *columns: Any) -> Any:
        joined = select(*columns).join(trial, trial.trial_id == model.trial_id)
        return session.execute(joined.where(only))

    attributes: dict[int, dict[str, Any]] = {}
    for place, key, text in of_study(attribute, attribute.trial_id, attribute.key, attribute.value_json):
        attributes.setdefault(place, {})[key.removeprefix(PREFIX)] = json.loads(text)
    values: dict[int, dict[int, float]] = {}
    for place, objective, stored, kind in of_study(
        value, value.trial_id, value.objective, value.value, value.value_type
    ):
        values.setdefault(place, {})[objective] = value.stored_repr_to_value(stored, kind)
    points: dict[int, dict[str, Any]] = {}
    for place, name, drawn, distribution in of_study(
        param, param.trial_id, param.param_name, param.param_value, param.distribution_json
    ):
        points.setdefault(place, {})[name] = json_to_distribution(distribution).to_external_repr(drawn)
    found = session.execute(select(trial.trial_id, trial.number, trial.state).where(only))
    rows = [
        _row(place, number, state, attributes.get(place, {}), values.get(place), points.get(place, {}))
        for place, number, state in found
    ]
    return sorted(rows, key=lambda row: row.number)


def _row(
    trial_id: int,
    number: int,
    state: TrialState,
    attributes: Mapping[str, Any],
    values: Mapping[int, float] | None,
    point: Mapping[str, Any],
) -> Row:
    said = attributes.get("state") or state.name.lower()
    owner = attributes.get("owner")
    measured = state == TrialState.COMPLETE and values
    return Row(
        trial_id=trial_id,
        number=number,
        arm=attributes.get("arm") or "",
        state="running" if state == TrialState.RUNNING else said,
        values=tuple(values[key] for key in sorted(values)) if measured and values else None,
        reason=attributes.get("reason"),
        seconds=attributes.get("seconds"),
        duplicate_of=attributes.get("duplicate_of"),
        config_hash=attributes.get("config_hash"),
        provenance=attributes.get("provenance"),
        point=point,
        owner=Owner.from_json(owner) if owner else None,
        step=attributes.get("step"),
        needs=attributes.get("needs"),
        deaths=int(attributes.get("deaths") or 0),
        death_step=int(attributes.get("death_step") or 0),
    )
