"""A study as MLflow shows it: its run and its experiment described in Markdown, its columns and charts."""

from bench.errors import LanewiseError
from bench.trial.described import plain
from bench.trial.view import view_path, view_tags
from studies.folder import StudyFolder
from studies.plan import dense_config
from studies.study_file import Study


def study_view(study: Study) -> dict[str, str]:
    """Return the tags of the view with which MLflow's pages open on a study."""
    return view_tags(study.task, dense_config(study).train.steps)


def describe_study(folder: StudyFolder, experiment_id: str, run_id: str) -> str:
    """Return what the study found, in the words of its report, and where to look next."""
    from reports.analysis import analyse
    from reports.headline import headline
    from reports.loader import load_study

    try:
        sentences = headline(analyse(load_study(folder.root)))
        lines = [f"**{plain(sentences[0].text)}**", "", *(f"- {plain(sentence.text)}" for sentence in sentences[1:])]
    except LanewiseError as error:  # nothing finished, say
        lines = [plain(str(error))]
    links = {
        "trials": view_path(experiment_id)[1:],
        "charts": view_path(experiment_id, charts=True)[1:],
        "study file": f"#/experiments/{experiment_id}/runs/{run_id}/artifacts/{folder.study_file.name}",
    }
    if (folder.root / "report" / "report.html").is_file():
        links["report"] = f"#/experiments/{experiment_id}/runs/{run_id}/artifacts/report.html"
    about = str(folder.load().document.data.get("about", ""))
    lines += ["", plain(about)] if about else []
    lines += ["", " · ".join(f"[{word}]({link})" for word, link in links.items())]
    return "\n".join([*lines, "", f"Report: `lanewise report {folder.root}`"])
