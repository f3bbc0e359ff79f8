"""The section `metadata` of the configuration: where TFX's metadata store is."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from schemas.section import Section, Variable


class MetadataConfig(Section):
    """The metadata store: every run, execution and artifact, and what came of what. A root has one, for good."""

    store: Literal["sqlite", "mysql"] = Field(
        "sqlite", description="sqlite: a file in the root. mysql: a MySQL or MariaDB server, for runs whose nodes are pods."
    )
    host: Annotated[str, Field(min_length=1)] | None = Field(None, description="mysql: name or address of the server.")
    port: Annotated[int, Field(gt=0, le=65535)] = Field(3306, description="mysql: its port.")
    database: Annotated[str, Field(pattern=r"^[A-Za-z0-9_$-]{1,64}$")] = Field(
        "mlmd", description="mysql: the database, which must exist. One root has it to itself."
    )
    user: Annotated[str, Field(min_length=1)] = Field("mlmd", description="mysql: the account.")
    password_variable: Variable = Field(
        "CLICKRANK_MLMD_PASSWORD", description="mysql: environment variable with the account's password; none if it is not set."
    )
    tls: bool = Field(
        False,
        description="mysql: whether the connection is encrypted; MLMD's client cannot check the server's certificate.",
    )

    @model_validator(mode="after")
    def _host_of_mysql(self) -> "MetadataConfig":
        if (self.store == "mysql") != (self.host is not None):
            raise ValueError("host is for store mysql, which needs it")
        return self
