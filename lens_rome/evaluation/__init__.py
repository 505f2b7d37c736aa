"""Scores of edits."""

from lens_rome.evaluation.evaluate import evaluate as evaluate
from lens_rome.evaluation.evaluate import score_record as score_record
from lens_rome.evaluation.fluency import continue_texts as continue_texts
from lens_rome.evaluation.fluency import ngram_entropy as ngram_entropy
from lens_rome.evaluation.fluency import perplexity as perplexity
from lens_rome.evaluation.fluency import words as words
from lens_rome.evaluation.likelihood import Likelihood as Likelihood
from lens_rome.evaluation.likelihood import likelihoods as likelihoods
from lens_rome.evaluation.likelihood import mean_nll as mean_nll
from lens_rome.evaluation.report import EvalReport as EvalReport
from lens_rome.evaluation.report import PromptScore as PromptScore
from lens_rome.evaluation.report import Score as Score
from lens_rome.evaluation.report import table as table
