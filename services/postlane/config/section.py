"""What every section of the configuration file has in common."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """Frozen, and unknown keys are refused by name."""

    model_config = ConfigDict(extra="forbid", frozen=True)
