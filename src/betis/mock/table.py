"""The comparison with the truth as a table of words."""

from betis.mock.recovery import Recovery

HEADER = ("", "bins", "flux bias", "flux pull std", "velocity bias", "velocity pull std")


def recovery_table(recovery: Recovery) -> tuple[tuple[str, ...], ...]:
    """Return the rows of a table, its header first: lines with S/N above 10, then the stars."""
    rows = [
        (
            row.line,
            str(row.n),
            f"{100 * row.flux_bias:+.2f} %",
            f"{row.flux_pull_std:.2f}",
            f"{row.velocity_bias:+.2f} km/s",
            f"{row.velocity_pull_std:.2f}",
        )
        for row in recovery.lines
    ]
    stars = recovery.stars
    rows.append(
        (
            "stars",
            str(stars.n),
            "",
            "",
            f"{stars.velocity_bias:+.2f} km/s",
            f"{stars.velocity_pull_std:.2f}",
        )
    )
    return (HEADER, *rows)
