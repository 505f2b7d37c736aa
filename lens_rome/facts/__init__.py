"""Facts, edit requests, evaluation records, and where a subject's tokens are in a prompt."""

from lens_rome.facts.contexts import sample_contexts as sample_contexts
from lens_rome.facts.contexts import sample_started_contexts as sample_started_contexts
from lens_rome.facts.fact import EditRequest as EditRequest
from lens_rome.facts.fact import Fact as Fact
from lens_rome.facts.fact import fill_template as fill_template
from lens_rome.facts.prompt import Prompt as Prompt
from lens_rome.facts.prompt import answer_tokens as answer_tokens
from lens_rome.facts.prompt import show_tokens as show_tokens
from lens_rome.facts.prompt import token_span as token_span
from lens_rome.facts.prompt import tokenize_prompt as tokenize_prompt
from lens_rome.facts.prompt import with_answer as with_answer
from lens_rome.facts.record import EvalRecord as EvalRecord
