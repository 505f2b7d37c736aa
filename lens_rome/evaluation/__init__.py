"""Scores of edits."""

from lens_rome.evaluation.essence import Essence as Essence
from lens_rome.evaluation.essence import essence_score as essence_score
from lens_rome.evaluation.essence import read_essences as read_essences
from lens_rome.evaluation.evaluate import evaluate as evaluate
from lens_rome.evaluation.evaluate import score_record as score_record
from lens_rome.evaluation.fluency import continue_texts as continue_texts
from lens_rome.evaluation.fluency import ngram_entropy as ngram_entropy
from lens_rome.evaluation.fluency import words as words
from lens_rome.evaluation.generation import HooksFor as HooksFor
from lens_rome.evaluation.generation import generate as generate
from lens_rome.evaluation.given_texts import perplexities as perplexities
from lens_rome.evaluation.given_texts import perplexity as perplexity
from lens_rome.evaluation.likelihood import Likelihood as Likelihood
from lens_rome.evaluation.likelihood import likelihoods as likelihoods
from lens_rome.evaluation.likelihood import mean_nll as mean_nll
from lens_rome.evaluation.report import EvalReport as EvalReport
from lens_rome.evaluation.report import PromptScore as PromptScore
from lens_rome.evaluation.report import Score as Score
from lens_rome.evaluation.report import table as table
from lens_rome.evaluation.texts import TextScore as TextScore
from lens_rome.evaluation.texts import TextSettings as TextSettings
from lens_rome.evaluation.texts import score_texts as score_texts
