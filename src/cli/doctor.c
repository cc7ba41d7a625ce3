/* SPDX-License-Identifier: GPL-2.0-or-later */
/* nat-bridge doctor: find out why it does not work, and prove it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apply.h"
#include "doctor.h"

static void examination_clear(struct nb_examination *examination)
{
	nb_cause_list_clear(&examination->diagnosis.causes);
	free(examination->diagnosis.cases);
	free(examination->diagnosis.inhabitants);
	free(examination->specs);
	nb_findings_clear(&examination->drift);
	nb_view_clear(&examination->view);
	memset(examination, 0, sizeof(*examination));
}

/* The view takes the words for those of `list`. */
static int read_view(struct nb_run *run, struct nb_view *ret)
{
	size_t words = run->word_count;
	int r;

	run->word_count = 0;
	ret->goes_on = true;
	/* what was asked for is resolved again, and says what it misses */
	ret->about = words ? run->words[0] : NULL;
	r = nb_view_prepare(run);
	if (r == 0)
		r = nb_view_read(run, ret);
	run->word_count = words;
	return r;
}

/* What `check` would warn of, doctor finds itself, with evidence. */
static int read_drift(struct nb_run *run, struct nb_examination *examination)
{
	struct nb_wanted wanted = { .keep_going = true };
	struct nb_warnings before = run->warnings;
	int r;

	if (!examination->view.visible || examination->view.unread ||
	    examination->view.result != NB_STATUS_OK)
		return 0;
	run->warnings = (struct nb_warnings){ 0 };
	r = nb_check_find(run, &wanted, &examination->drift);
	nb_warnings_clear(&run->warnings);
	run->warnings = before;
	nb_wanted_clear(&wanted);
	return r;
}

/* What makes root take the directory of rule files for its own. */
static void word_trust(const char *path, char *buffer, size_t size)
{
	struct stat st;

	if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode))
		snprintf(buffer, size, "make %s a directory that root can read", path);
	else if (st.st_uid != 0 && st.st_uid != geteuid())
		snprintf(buffer, size, "chown root %s", path);
	else if (st.st_mode & S_ISVTX)
		snprintf(buffer, size, "keep rule files in a directory of their own (--rules DIR)");
	else
		snprintf(buffer, size, "chmod go-w %s", path);
}

/* What is in the directory is not read, so that nobody knows what the kernel should have. */
static void blame_unread(struct nb_run *run, struct nb_examination *examination)
{
	struct nb_cause *cause = nb_cause_add(&examination->diagnosis.causes, "invalid-file");

	if (!cause)
		return;
	snprintf(cause->what, sizeof(cause->what), "no rule file is read: %s%s%s",
		 strstr(run->error.message, run->options.rules) ? "" : run->options.rules,
		 strstr(run->error.message, run->options.rules) ? "" : " ", run->error.message);
	snprintf(cause->evidence, sizeof(cause->evidence), "%s", run->options.rules);
	word_trust(run->options.rules, cause->mend, sizeof(cause->mend));
}

/* The directory is gone while its mappings are live. */
static void blame_directory(struct nb_run *run, struct nb_examination *examination)
{
	struct nb_cause *cause;

	if (examination->view.unread)
		blame_unread(run, examination);
	if (examination->view.result == NB_STATUS_OK)
		return;
	cause = nb_cause_add(&examination->diagnosis.causes, "not-applied");
	if (!cause)
		return;
	snprintf(cause->what, sizeof(cause->what), "%s", run->error.message);
	snprintf(cause->evidence, sizeof(cause->evidence), "%s", run->options.rules);
	snprintf(cause->mend, sizeof(cause->mend), "bring %s back, or: nat-bridge flush",
		 run->options.rules);
}

static void warn_unprivileged(struct nb_run *run)
{
	nb_warn(&run->warnings,
		"root would see more: whether the kernel has what the rule files say, which rules "
		"of others drop, and what a probe from the network meets: sudo nat-bridge doctor");
}

/* While a rule file is invalid, plain `apply` refuses all of them. */
static void leave_invalid_out(const struct nb_run *run, struct nb_cause_list *causes)
{
	static const char apply[] = "nat-bridge apply";

	for (size_t i = 0; nb_rules_invalid(&run->rules) && i < causes->count; i++) {
		struct nb_cause *cause = &causes->items[i];
		size_t length = strlen(cause->mend);

		if (length >= strlen(apply) && strcmp(cause->code, "invalid-file") != 0 &&
		    strcmp(cause->mend + length - strlen(apply), apply) == 0 &&
		    length + sizeof(" --keep-going") <= sizeof(cause->mend))
			strcpy(cause->mend + length, " --keep-going");
	}
}

static int examine(struct nb_run *run, struct nb_examination *examination)
{
	struct nb_diagnosis *diagnosis = &examination->diagnosis;
	int r = read_view(run, &examination->view);

	if (r < 0)
		return r;
	diagnosis->nl = run->nl;
	diagnosis->mark = run->config.mark;
	diagnosis->state = examination->view.visible ? &examination->view.state : NULL;
	diagnosis->links = nb_view_links(&examination->view);
	diagnosis->warnings = &run->warnings;
	diagnosis->may_probe = examination->view.visible && !run->options.dry_run;
	diagnosis->payload = run->options.payload;
	blame_directory(run, examination);
	if (!diagnosis->may_probe && geteuid() != 0)
		warn_unprivileged(run);
	r = nb_doctor_choose(run, examination);
	if (r == 0)
		r = nb_doctor_blame_rules(run, examination);
	if (r == 0)
		r = nb_doctor_find_containers(run, examination);
	if (r == 0)
		r = read_drift(run, examination);
	if (r < 0)
		return r;
	diagnosis->drift = examination->drift.items;
	diagnosis->drift_count = examination->drift.count;
	if (nb_diagnose(diagnosis) < 0)
		return nb_out_of_memory(run);
	leave_invalid_out(run, &diagnosis->causes);
	return 0;
}

/* Which engine is there instead of the one that was asked, the causes say. */
static bool is_of_engine(const struct nb_run *run, const struct nb_cause_list *causes,
			 const char *warning)
{
	bool told = false;

	for (size_t i = 0; i < causes->count; i++)
		told |= strncmp(causes->items[i].code, "engine-", 7) == 0;
	for (int engine = NB_ENGINE_DOCKER; told && engine < NB_ENGINE_COUNT; engine++)
		if (strcmp(run->engines[engine].why, warning) == 0)
			return true;
	return false;
}

/* A warning that a cause repeats, in more words, is said once. */
static void drop_repeated_warnings(struct nb_run *run, const struct nb_examination *examination)
{
	const struct nb_cause_list *causes = &examination->diagnosis.causes;
	size_t kept = 0;

	for (size_t i = 0; i < run->warnings.count; i++) {
		char *warning = run->warnings.items[i];
		bool said = is_of_engine(run, causes, warning);

		for (size_t j = 0; j < causes->count && !said; j++)
			said = strstr(causes->items[j].what, warning) ||
			       (causes->items[j].evidence[0] &&
				strstr(warning, causes->items[j].evidence));
		if (said)
			free(warning);
		else
			run->warnings.items[kept++] = warning;
	}
	run->warnings.count = kept;
}

size_t nb_doctor_problems(const struct nb_examination *examination)
{
	const struct nb_cause_list *causes = &examination->diagnosis.causes;
	size_t count = 0;

	for (size_t i = 0; i < causes->count; i++)
		count += causes->items[i].severity == NB_PROBLEM && !causes->items[i].fixed;
	return count;
}

bool nb_doctor_is_known(const struct nb_examination *examination)
{
	return examination->view.visible || nb_doctor_problems(examination) > 0;
}

/* --- Mending --- */

static bool is_ours(const struct nb_examination *examination)
{
	const struct nb_cause_list *causes = &examination->diagnosis.causes;

	for (size_t i = 0; i < causes->count; i++)
		if (causes->items[i].ours)
			return true;
	return false;
}

/* What doctor may do itself is one thing: make the kernel what the rule files say. */
static int apply(struct nb_run *run)
{
	struct nb_run other = {
		.command = nb_command_find("apply"),
		.options = run->options,
		.lock = -1,
		.rules_lock = -1,
	};
	struct nb_application application = { .look_closely = true };
	int r;

	other.options.keep_going = nb_rules_invalid(&run->rules);
	r = nb_apply(&other, &application);

	if (r < 0) {
		nb_journal_failure(&other);
		nb_warn(&run->warnings, "nothing was mended: nat-bridge apply: %s",
			other.error.message);
	} else {
		nb_journal_change(&other, &application.report);
	}
	run->changed = application.outcome.changed;
	nb_application_clear(&application);
	nb_run_finish(&other);
	return r;
}

/* What was said before and is not said any more is mended. */
static void compare(struct nb_examination *examination, const struct nb_examination *again)
{
	struct nb_cause_list *causes = &examination->diagnosis.causes;
	const struct nb_cause_list *left = &again->diagnosis.causes;

	for (size_t i = 0; i < causes->count; i++) {
		struct nb_cause *cause = &causes->items[i];

		cause->fixed = true;
		for (size_t j = 0; j < left->count && cause->fixed; j++)
			cause->fixed = strcmp(left->items[j].code, cause->code) != 0 ||
				       strcmp(left->items[j].bridge, cause->bridge) != 0 ||
				       left->items[j].port != cause->port;
	}
}

/* What is found only now was hidden by what is mended. */
static void take_over(struct nb_examination *examination, struct nb_examination *again)
{
	struct nb_cause_list *causes = &again->diagnosis.causes;

	for (size_t i = 0; i < examination->diagnosis.causes.count; i++) {
		const struct nb_cause *cause = &examination->diagnosis.causes.items[i];
		struct nb_cause *kept;

		if (!cause->fixed)
			continue;
		kept = nb_cause_add(causes, cause->code);
		if (kept)
			*kept = *cause;
	}
	nb_cause_list_sort(causes);
}

static int fix(struct nb_run *run, struct nb_examination *examination)
{
	struct nb_examination again = { 0 };
	struct nb_run other;
	int r;

	if (!is_ours(examination))
		return 0;
	if (!run->options.quiet)
		fprintf(stderr, "nat-bridge: mending: nat-bridge apply%s\n",
			nb_rules_invalid(&run->rules) ? " --keep-going" : "");
	/* what was found is no less true where it cannot be mended */
	if (apply(run) < 0)
		return 0;
	/* everything is read anew */
	other = (struct nb_run){
		.command = run->command,
		.options = run->options,
		.words = run->words,
		.word_count = run->word_count,
		.lock = -1,
		.rules_lock = -1,
	};
	r = examine(&other, &again);
	if (r < 0) {
		run->error = other.error;
		examination_clear(&again);
		nb_run_finish(&other);
		return r;
	}
	compare(examination, &again);
	take_over(examination, &again);
	examination_clear(examination);
	/* what the examination points to goes with its run */
	nb_run_finish(run);
	other.changed = run->changed;
	*run = other;
	*examination = again;
	examination->diagnosis.warnings = &run->warnings;
	examination->diagnosis.links = nb_view_links(&examination->view);
	examination->diagnosis.state = examination->view.visible ? &examination->view.state : NULL;
	return 0;
}

int nb_command_doctor(struct nb_run *run)
{
	struct nb_examination examination = { 0 };
	enum nb_status written = NB_STATUS_OK;
	int status, r = 0;

	if (run->word_count > 2)
		r = nb_error_set(&run->error, NB_STATUS_USAGE, EINVAL, "usage",
				 "doctor takes a NETWORK and a PORT, or one of them (try: "
				 "nat-bridge doctor --help)");
	/* also where nothing is found: this user cannot find what there is to mend */
	if (r == 0 && run->options.fix && !run->options.dry_run && geteuid() != 0)
		r = nb_error_set(&run->error, NB_STATUS_FAILED, EPERM, "permission",
				 "--fix changes the kernel: run it as root (sudo nat-bridge ...)");
	if (r == 0)
		r = examine(run, &examination);
	if (r == 0 && run->options.fix && !run->options.dry_run)
		r = fix(run, &examination);
	if (r == 0)
		drop_repeated_warnings(run, &examination);
	/* what was found is not lost with the file that could not be written */
	if (r == 0 && run->options.report &&
	    nb_doctor_report(run, &examination, run->options.report) < 0)
		written = NB_STATUS_FAILED;
	status = r < 0 ? nb_print_failure(run) : nb_print_doctor(run, &examination, written);
	examination_clear(&examination);
	return status;
}
