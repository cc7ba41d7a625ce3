/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * nat-bridge watch: stay, and keep the kernel what the rule files say.
 *
 * Theory of operation
 * -------------------
 * The process waits in poll(2). When something happens that may matter it
 * forks; the child looks, which is what `apply --keep-going` does, says what it
 * did, sends its result through a pipe and ends. So the process that stays is small whatever
 * there is to look at, and what goes wrong in a look ends with it. Events are only
 * reasons to look: none of them is needed, and many of them are one.
 *
 * Two things are remembered. Runtime mappings, which no file has: if the table is removed by
 * something else than nat-bridge they come back. Where that cannot be told for certain,
 * because events were lost or a nat-bridge changed the table since the last look, they do
 * not: what somebody took away must not come back.
 *
 * And which bridges the engines' networks were: an engine may hang, and what others broke shall not
 * wait for it. So where a commit of others or a filter is the reason, a look at once
 * takes that for what it was, without asking, and another one behind it asks. That one waits for engines
 * without the lock, and may be ended while it does (SIGTERM) when the table is changed again.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../watch/files.h"
#include "../watch/notify.h"
#include "../watch/pace.h"
#include "../watch/rest.h"
#include "../watch/sink.h"
#include "accounting.h"
#include "apply.h"
#include "flow_log.h"
#include "nat-bridge/events.h"

#define RECONNECT_MS	1000
#define LOG_AGAIN_MS	30000
#define LOG_PATIENCE_MS 2000
#define RECONNECTS	6 /* each after twice the time; then with the next look */

/* Why a look is due. */
enum reason {
	REASON_RULESET = 1 << 0,
	REASON_DEVICES = 1 << 1,
	REASON_FILES = 1 << 2,
	REASON_ENGINE = 1 << 3,
	REASON_TIME = 1 << 4,
	REASON_ASKED = 1 << 5, /* the first one, and SIGHUP */
	REASON_LOST = 1 << 6,  /* events were */
	REASON_FILTERS = 1 << 7,
};

/* What a look found: the head of what it sends; runtime mappings follow. */
struct result {
	int status; /* enum nb_status */
	bool changed;
	bool flushed;
	bool found;    /* our table was there */
	bool read;     /* the runtime mappings are all there are now */
	bool docker;   /* mappings name its networks or containers */
	bool asked;    /* engines were, as far as they are needed */
	bool recalled; /* what their networks are follows behind the runtime mappings */
	uint32_t generation;
	uint64_t said; /* digest of warnings and error */
	uint64_t wish; /* digest of what the rule files ask, by bridge */
	int64_t next_end;
	struct nb_device_changes devices; /* what it did to them */
	size_t runtime_count;
	size_t recall_count;
};

/* A runtime mapping in that pipe. */
struct sent {
	struct nb_element element;
	char comment[NB_ELEMENT_COMMENT];
};

/* And what one of an engine's networks is; the text of `except` follows, without its NUL. */
struct sent_recalled {
	struct nb_recalled item;
	size_t except_length;
};

struct watch {
	struct nb_run *run;
	struct nb_events *events;
	struct nb_files files;
	struct nb_pace pace;
	char config_directory[256];
	char flushed_name[64];
	int signals;
	int clock;  /* of the next mapping that ends */
	int docker; /* its events, or -1 */
	unsigned int reconnects;
	int64_t reconnect; /* when to try again, 0: not now */
	int64_t next_beat; /* of systemd's watchdog, 0: none */
	int64_t beat;

	unsigned int reasons; /* for a look that is due */
	int64_t due;
	uint32_t generation; /* of the last commit of others, with REASON_RULESET */
	char program[32];    /* who made it */
	/* generations, which tell whether what is remembered is what was there last */
	uint32_t known;	  /* when a look has read what is remembered */
	uint32_t touched; /* the last commit in which a nat-bridge changed our table */
	uint32_t removed; /* the one in which another's hand took the table, 0: none since then, */
	uint32_t before;  /* and the last nat-bridge before that */
	bool lost;	  /* events were, so nobody knows */
	bool restore;	  /* in the look that is under way */
	struct nb_element_list remembered;
	struct nb_recall recall; /* what the engines' networks were */

	pid_t log; /* the process that logs connections, 0: there is none */
	int log_pipe;
	bool accounting;   /* we have turned it on */
	bool unread;	   /* it was on standard output, which somebody has closed */
	int64_t log_again; /* when to start it again, 0: not now */

	int lock;
	pid_t child; /* 0: no look is under way */
	int pipe;
	unsigned int child_reasons;
	struct result last;
	int64_t cut;	   /* when it need not wait for an engine any longer, 0: it may */
	int64_t half_cost; /* that the first half of it has taken of a processor, 0: there was none */
	bool half_mended; /* and that has mended something */
	bool quick;	  /* it asks no engine, or is not to */
	bool follow;	  /* the next one asks: it is the other half of the last */
	bool damaged;	  /* the table was, by others, since it began */
	bool ready;
	bool resting; /* its memory was given back */
	bool ending;
};

/* Is commit @a later than @b? */
static bool is_later(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) > 0;
}

/* --- What is said --- */

static uint64_t digest(uint64_t hash, const char *text)
{
	for (; *text; text++)
		hash = (hash ^ (unsigned char)*text) * UINT64_C(1099511628211);
	return (hash ^ 0xff) * UINT64_C(1099511628211);
}

/* Of everything that is wrong: what was said before is not said again. */
static uint64_t digest_of(const struct nb_run *run, int status)
{
	uint64_t hash = UINT64_C(14695981039346656037);

	for (size_t i = 0; i < run->warnings.count; i++)
		hash = digest(hash, run->warnings.items[i]);
	if (status != NB_STATUS_OK)
		hash = digest(digest(hash, run->error.message), run->error.file);
	return hash;
}

/* Only what is new: a watcher that says the same each time is read by nobody. */
static void report(struct nb_run *run, struct nb_application *application, int status, bool failed,
		   bool troubles)
{
	if (!troubles) {
		nb_warnings_clear(&run->warnings);
		status = NB_STATUS_OK;
	}
	if (failed && troubles)
		nb_print_failure(run);
	if (failed || (!troubles && !application->report.changed))
		return;
	run->options.quiet |= !application->report.changed;
	nb_print_change(run, &application->report, (enum nb_status)status);
}

/* --- A look, in a child --- */

/* Files of mappings that are over: `list` says expired no longer, and nothing is lost. */
static void tidy_expired(struct nb_run *run)
{
	struct nb_change *change = NULL;
	size_t count = 0;
	int r = 0;

	for (size_t i = 0; r >= 0 && i < run->rules.mappings.count; i++) {
		const struct nb_mapping *mapping = &run->rules.mappings.items[i];

		if (!nb_mapping_is_expired(mapping))
			continue;
		if (!change)
			change = nb_change_new_remove(&run->rules);
		r = change ? nb_change_take(change, mapping, &run->error) : nb_out_of_memory(run);
		count++;
	}
	if (change && r >= 0)
		r = nb_change_prepare(change, &run->error);
	if (change && r >= 0)
		r = nb_change_commit(change, &run->error);
	if (r < 0)
		nb_warn(&run->warnings, "the files of %zu mapping%s that are over stay: %s", count,
			count == 1 ? "" : "s", run->error.message);
	if (change)
		nb_change_free(change);
}

static bool uses_docker(const struct nb_rules *rules)
{
	for (size_t i = 0; i < rules->mappings.count; i++) {
		enum nb_engine engine = rules->mappings.items[i].network.engine;

		if (engine == NB_ENGINE_DOCKER || engine == NB_ENGINE_CONTAINER)
			return true;
	}
	return false;
}

static bool send_all(int fd, const void *data, size_t length)
{
	const char *at = data;

	while (length) {
		ssize_t n = write(fd, at, length);

		if (n < 0 && errno != EINTR)
			return false;
		if (n > 0) {
			at += n;
			length -= (size_t)n;
		}
	}
	return true;
}

static bool send_result(int fd, const struct result *result, const struct nb_element_list *runtime,
			const struct nb_recall *recall)
{
	bool good = send_all(fd, result, sizeof(*result));

	for (size_t i = 0; good && i < result->runtime_count; i++) {
		struct sent sent = { .element = runtime->items[i] };

		if (sent.element.comment)
			strncpy(sent.comment, sent.element.comment, sizeof(sent.comment) - 1);
		sent.element.comment = NULL;
		good = send_all(fd, &sent, sizeof(sent));
	}
	for (size_t i = 0; good && i < result->recall_count; i++) {
		struct sent_recalled sent = { .item = recall->items[i] };

		sent.except_length = sent.item.except ? strlen(sent.item.except) : 0;
		sent.item.except = NULL;
		good = send_all(fd, &sent, sizeof(sent)) &&
		       send_all(fd, recall->items[i].except, sent.except_length);
	}
	return good;
}

/* Engines may take their time, but this look may then be ended. */
static int ask_ahead(const struct watch *w, struct nb_run *run)
{
	sigset_t terminate;
	int r;

	sigemptyset(&terminate);
	sigaddset(&terminate, SIGTERM);
	sigprocmask(SIG_UNBLOCK, &terminate, NULL);
	r = nb_ask_ahead(run, &w->recall);
	sigprocmask(SIG_BLOCK, &terminate, NULL);
	return r < 0 ? nb_out_of_memory(run) : 0;
}

/* Look, and mend. With @quick no engine is asked; -errno then means that one has to be. */
static int attempt(const struct watch *w, bool quick, struct nb_run *run,
		   struct nb_application *application)
{
	int r = 0;

	*run = (struct nb_run){
		.lock = -1,
		.rules_lock = -1,
		.command = nb_command_find("apply"),
		.options = w->run->options,
		.stream = true,
		/* each attempt makes a qdisc and deletes it, which is an event */
		.believe = !(w->reasons & REASON_ASKED),
		.recall = &w->recall,
		.recall_only = quick,
	};
	run->options.keep_going = true;
	*application = (struct nb_application){
		.heed_flush = true,
		.report.verb = "applied",
		/* somebody may be in the middle of writing it */
		.wanted.keep_all = true,
		.look_closely = w->lost || is_later(w->touched, w->known) || !w->ready,
		.wanted.remembered = w->restore ? &w->remembered : NULL,
	};
	if (!quick && w->recall.count && !nb_flushed())
		r = ask_ahead(w, run);
	if (r == 0)
		r = nb_apply(run, application);
	if (r == 0 && !application->flushed)
		tidy_expired(run);
	return r;
}

static _Noreturn void look(const struct watch *w, int fd)
{
	struct nb_application application;
	struct result result = { .said = w->last.said };
	bool quick = w->quick, good;
	struct nb_run run;
	sigset_t none;
	int r;

	/* SIGTERM is the parent's affair: a look ends by itself */
	sigemptyset(&none);
	sigaddset(&none, SIGTERM);
	sigaddset(&none, SIGINT);
	sigprocmask(SIG_SETMASK, &none, NULL);
	r = attempt(w, quick, &run, &application);
	if (r < 0 && quick) {
		nb_application_clear(&application);
		nb_run_finish(&run);
		quick = false;
		r = attempt(w, quick, &run, &application);
	}
	result.asked = !quick || application.flushed;
	result.status = r < 0 ? (int)run.error.status : application.status;
	result.changed = r == 0 ? application.report.changed : run.changed;
	result.flushed = application.flushed;
	result.wish = application.wanted.digest;
	result.found = application.found;
	result.read = r == 0 && application.read;
	result.docker = uses_docker(&run.rules);
	result.generation = application.outcome.generation;
	result.devices = application.outcome.devices;
	result.next_end = application.wanted.next_end;
	result.runtime_count = result.read ? application.wanted.runtime.count : 0;
	result.recalled = r == 0 && !application.flushed;
	result.recall_count = result.recalled ? application.wanted.recall.count : 0;
	if (!application.flushed) {
		uint64_t said = digest_of(&run, result.status);

		/* what an engine has to do with is for the look that asks it */
		if (quick)
			said = w->last.said;
		report(&run, &application, result.status, r < 0, said != w->last.said);
		result.said = said;
	}
	fflush(stdout);
	good = send_result(fd, &result, &application.wanted.runtime, &application.wanted.recall);
	nb_application_clear(&application);
	nb_run_finish(&run);
	_exit(good ? 0 : 1);
}

/* Now that no look is under way it can be said whose the table was when it went. */
static void decide_restore(struct watch *w)
{
	bool gone = w->removed && w->remembered.count;

	w->restore = gone && !w->lost && !is_later(w->before, w->known);
	if (!gone || w->restore)
		return;
	nb_print_note(w->run,
		      "runtime mappings do not come back: whether they were still wanted is "
		      "not known");
	w->removed = 0;
}

/* No descriptor or no memory for a process: later. */
static void put_off(struct watch *w)
{
	int64_t now = nb_monotonic_ms();

	w->child = 0;
	nb_pace_note(&w->pace, 0, now, false, true);
	w->due = nb_pace_next(&w->pace, now);
}

/*
 * May what the engines' networks were be taken for what they are? If the table is what the last look
 * left, apart from what others did: another nat-bridge may have learnt more of them, and nothing that it did
 * shall be undone. Of a table that is gone there is nothing to undo, unless a nat-bridge has made it
 * anew. That devices came and went at the same time is no matter: a bridge is known by its index.
 */
static bool may_be_quick(const struct watch *w)
{
	return w->ready && w->recall.count && w->reasons & (REASON_RULESET | REASON_FILTERS) &&
	       !w->lost &&
	       ((w->removed && !is_later(w->touched, w->removed)) ||
		!is_later(w->touched, w->known));
}

static void begin_look(struct watch *w)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0) {
		put_off(w);
		return;
	}
	w->quick = !w->follow && may_be_quick(w);
	if (!w->follow)
		nb_pace_begin(&w->pace);
	/* behind the quick half: then the one that asks gives way to another such, once that is due */
	w->damaged &= w->follow;
	w->follow = false;
	decide_restore(w);
	nb_events_listen_devices(w->events);
	fflush(stdout);
	w->child = fork();
	if (w->child == 0) {
		/* a look may outlive a watcher that is killed, and is none */
		close(w->lock);
		close(ends[0]);
		look(w, ends[1]);
	}
	close(ends[1]);
	if (w->child < 0) {
		close(ends[0]);
		put_off(w);
		return;
	}
	w->pipe = ends[0];
	if (w->damaged)
		w->cut = nb_pace_next(&w->pace, nb_monotonic_ms());
	w->child_reasons = w->reasons;
	w->reasons = 0;
	w->resting = false;
}

static bool receive_all(int fd, void *data, size_t length)
{
	char *at = data;

	while (length) {
		ssize_t n = read(fd, at, length);

		if (n == 0 || (n < 0 && errno != EINTR))
			return false;
		if (n > 0) {
			at += n;
			length -= (size_t)n;
		}
	}
	return true;
}

static bool receive_recalled(int fd, struct nb_recall *recall)
{
	struct sent_recalled sent;
	char *except = NULL;
	bool good = receive_all(fd, &sent, sizeof(sent));

	if (good && sent.except_length) {
		except = calloc(1, sent.except_length + 1);
		good = except && receive_all(fd, except, sent.except_length);
	}
	if (good) {
		sent.item.except = except;
		good = nb_recall_append(recall, &sent.item) == 0;
	}
	free(except);
	return good;
}

/* What a look sent. False: it was killed, or could not send. */
static bool receive_result(struct watch *w, struct result *result)
{
	struct nb_element_list runtime = { 0 };
	struct nb_recall recall = { 0 };
	bool good = receive_all(w->pipe, result, sizeof(*result));

	for (size_t i = 0; good && i < result->runtime_count; i++) {
		struct sent sent;

		good = receive_all(w->pipe, &sent, sizeof(sent));
		sent.element.comment = sent.comment;
		if (good && nb_element_list_append(&runtime, &sent.element) < 0)
			good = false;
	}
	for (size_t i = 0; good && i < result->recall_count; i++)
		good = receive_recalled(w->pipe, &recall);
	if (good && result->recalled) {
		nb_recall_clear(&w->recall);
		w->recall = recall;
	} else {
		nb_recall_clear(&recall);
	}
	/* one that found the table gone, and was not told to bring it back, knows nothing of it */
	if (good && result->read && (result->found || w->restore)) {
		nb_element_list_clear(&w->remembered);
		w->remembered = runtime;
		w->lost = w->reasons & REASON_LOST;
		w->known = result->generation;
		if (!is_later(w->removed, w->known))
			w->removed = 0;
	} else {
		nb_element_list_clear(&runtime);
	}
	return good;
}

/* --- Reasons --- */

static void want_look(struct watch *w, unsigned int reason)
{
	if (w->reasons == 0)
		w->due = nb_pace_next(&w->pace, nb_monotonic_ms());
	w->reasons |= reason;
}

static void read_events(struct watch *w)
{
	struct nb_event_report report;

	nb_events_read(w->events, &report);
	if (report.what & NB_EVENT_LOST) {
		w->lost = true;
		want_look(w, REASON_LOST);
	}
	w->touched = report.touched;
	if (report.what & NB_EVENT_REMOVED) {
		w->removed = report.removed;
		w->before = report.before;
	}
	if (report.what & NB_EVENT_RULESET) {
		w->generation = report.generation;
		if (!report.own)
			memcpy(w->program, report.program, sizeof(w->program));
		want_look(w, REASON_RULESET);
	}
	/* what waits for an engine gives way to what mends, once that is due */
	if (report.what & NB_EVENT_DAMAGED && w->recall.count) {
		w->damaged = true;
		if (w->child && !w->quick && !w->cut)
			w->cut = nb_pace_next(&w->pace, nb_monotonic_ms());
	}
	if (report.what & NB_EVENT_DEVICES)
		want_look(w, REASON_DEVICES);
	if (report.what & NB_EVENT_FILTERS)
		want_look(w, REASON_FILTERS);
}

static void listen_docker(struct watch *w)
{
	w->reconnect = 0;
	if (w->docker >= 0 || !w->last.docker)
		return;
	w->docker = nb_listen_engine(w->run, NB_ENGINE_DOCKER);
	/* it is about to answer: nothing else may tell when it does */
	if (w->docker >= 0 || w->docker == -EAGAIN)
		w->reconnects = 0;
	if (w->docker >= 0) {
		/* what happened before it could be heard */
		want_look(w, REASON_ENGINE);
	} else if (w->reconnects < RECONNECTS) {
		w->reconnect = nb_monotonic_ms() + ((int64_t)RECONNECT_MS << w->reconnects++);
	}
}

static void read_docker(struct watch *w)
{
	char buffer[4096];
	ssize_t length;

	while ((length = recv(w->docker, buffer, sizeof(buffer), MSG_DONTWAIT)) > 0)
		want_look(w, REASON_ENGINE);
	if (length < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	close(w->docker);
	w->docker = -1;
	w->reconnects = 0;
	w->reconnect = nb_monotonic_ms() + RECONNECT_MS;
}

/* The moment when a mapping ends, on a clock that somebody may set. */
static void set_clock(struct watch *w)
{
	struct itimerspec when = { .it_value.tv_sec = w->last.next_end };

	/* a second later, when it is over by any rounding */
	if (when.it_value.tv_sec)
		when.it_value.tv_sec++;
	timerfd_settime(w->clock, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &when, NULL);
}

static void read_clock(struct watch *w)
{
	uint64_t times;

	/* ECANCELED: the clock was set, so everything may be over, or not */
	if (read(w->clock, &times, sizeof(times)) > 0 || errno == ECANCELED)
		want_look(w, REASON_TIME);
}

static int64_t milliseconds(const struct timeval *time)
{
	return (int64_t)time->tv_sec * 1000 + time->tv_usec / 1000;
}

/* Is all that was heard since the look began what it did itself, or has seen? */
static bool is_echo(const struct watch *w, const struct result *result)
{
	const unsigned int devices = REASON_DEVICES | REASON_FILTERS;

	if (result->flushed || w->reasons & ~(REASON_RULESET | devices))
		return false;
	if (w->reasons & REASON_RULESET && is_later(w->generation, result->generation))
		return false;
	return !(w->reasons & devices) || nb_events_devices_are(w->events, &result->devices);
}

/* A look, or both halves of one, is over. */
static void note_pace(struct watch *w, int64_t cost, int64_t now, bool mended, bool failed)
{
	/* who takes filters away is not told */
	const char *program = w->child_reasons & REASON_RULESET ? w->program : "";
	char text[256];

	cost += w->half_cost;
	mended |= w->half_mended;
	w->half_cost = 0;
	w->half_mended = false;
	if (!nb_pace_note(&w->pace, cost, now, mended, failed))
		return;
	snprintf(text, sizeof(text),
		 "%s%.31s undoes what is applied here again and again: from now on it is mended "
		 "less often; see 'nat-bridge check', and stop one of the two",
		 program[0] ? "program " : "another program", program);
	nb_print_note(w->run, text);
}

static void end_look(struct watch *w)
{
	struct result result = { .status = NB_STATUS_FAILED, .said = w->last.said };
	int64_t now = nb_monotonic_ms(), cost;
	struct rusage usage = { 0 };
	bool good, mended, failed;
	int ended = 0;

	good = receive_result(w, &result);
	close(w->pipe);
	while (wait4(w->child, &ended, 0, &usage) < 0 && errno == EINTR)
		;
	w->child = 0;
	w->cut = 0;
	cost = milliseconds(&usage.ru_utime) + milliseconds(&usage.ru_stime);
	if (!good && WIFSIGNALED(ended) && WTERMSIG(ended) == SIGTERM) {
		/* it has waited for an engine, and done nothing yet */
		note_pace(w, cost, now, false, false);
		w->reasons |= w->child_reasons;
		w->due = now;
		return;
	}
	/* events of its own commit, and of what it has seen */
	read_events(w);
	if (good && is_echo(w, &result))
		w->reasons = 0;
	/* what no engine told it may have been lost with the table, before it read that */
	if (result.asked && w->damaged)
		w->reasons |= REASON_RULESET;
	failed = !good || (result.status != NB_STATUS_OK && result.status != NB_STATUS_PARTIAL);
	if (!good)
		nb_print_note(w->run,
			      "a look at the kernel ended before it was done; it is tried again");
	/* a network that is made anew is another wish; so is a file */
	mended = result.changed && result.wish == w->last.wish &&
		 w->child_reasons & (REASON_RULESET | REASON_FILTERS);
	if (good && !result.asked) {
		w->half_cost = cost;
		w->half_mended = mended;
	} else {
		note_pace(w, cost, now, mended, failed);
	}
	if (good) {
		bool was = w->last.flushed;

		w->last = result;
		if (result.flushed && !was)
			nb_print_note(w->run,
				      "flushed: nothing is applied until 'nat-bridge apply'");
		set_clock(w);
		/* that, too, may have to wait for it */
		if (result.asked)
			listen_docker(w);
	}
	if (failed && w->reasons == 0)
		want_look(w, w->child_reasons);
	if (w->reasons)
		w->due = nb_pace_next(&w->pace, now);
	if (good && !result.asked) {
		/* what it has read itself it has mended */
		w->damaged &= is_later(w->generation, result.generation);
		w->follow = true;
		w->reasons |= w->child_reasons;
		w->due = now;
	}
	if (!w->ready && good) {
		w->ready = true;
		nb_notify("READY=1\nSTATUS=watching");
	}
}

static void read_signals(struct watch *w)
{
	struct signalfd_siginfo info;

	while (read(w->signals, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGHUP)
			want_look(w, REASON_ASKED);
		else
			w->ending = true;
		/* it may wait for an engine */
		if (w->ending && w->child)
			kill(w->child, SIGTERM);
		if (w->log)
			kill(w->log, (int)info.ssi_signo);
	}
}

/* --- The log of connections, a process of its own --- */

static void start_log(struct watch *w, bool resume)
{
	pid_t pid = nb_flow_log_start(w->run, resume, &w->log_pipe);

	w->log_again = 0;
	if (pid > 0) {
		w->log = pid;
		return;
	}
	nb_print_note(w->run, w->run->error.message);
	w->log_again = nb_monotonic_ms() + LOG_AGAIN_MS;
}

static void end_log(struct watch *w)
{
	int status = 0;

	struct pollfd end = { .fd = w->log_pipe };

	/* its end may have to wait for a disk; ours does not */
	if (w->ending && poll(&end, 1, LOG_PATIENCE_MS) == 0)
		kill(w->log, SIGKILL);
	close(w->log_pipe);
	while (waitpid(w->log, &status, 0) < 0 && errno == EINTR)
		;
	w->log = 0;
	if (w->ending)
		return;
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGPIPE &&
	    strcmp(w->run->options.log, "-") == 0) {
		nb_error_set(&w->run->error, NB_STATUS_FAILED, EPIPE, "log",
			     "nobody reads the log any more");
		w->unread = w->ending = true;
		return;
	}
	nb_print_note(w->run, "the process that logs connections has ended; it is started again");
	w->log_again = nb_monotonic_ms() + RECONNECT_MS;
}

/* --- Set-up and loop --- */

static int open_signals(void)
{
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGHUP);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	return signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
}

static int open_files(struct watch *w)
{
	const struct nb_run *run = w->run;
	const char *name = strrchr(run->options.config, '/');
	int r = nb_files_open(&w->files);

	if (r < 0)
		return nb_error_set(&w->run->error, NB_STATUS_FAILED, -r, "kernel", "inotify: %s",
				    strerror(-r));
	nb_files_add(&w->files, run->options.rules, ".json", NULL);
	snprintf(w->config_directory, sizeof(w->config_directory), "%.*s",
		 name ? (int)(name - run->options.config) : 1, name ? run->options.config : ".");
	nb_files_add(&w->files, w->config_directory, NULL, name ? name + 1 : run->options.config);
	if (nb_runtime_path(w->flushed_name, sizeof(w->flushed_name), ".flushed"))
		nb_files_add(&w->files, "/run/nat-bridge", NULL, strrchr(w->flushed_name, '/') + 1);
	nb_files_add(&w->files,
		     run->config.podman_networks ? run->config.podman_networks
						 : "/etc/containers/networks",
		     ".json", NULL);
	return 0;
}

static int set_up_log(struct watch *w)
{
	struct nb_run *run = w->run;
	pid_t pid;
	int r;

	/* also what one left that was killed */
	nb_accounting_end(run);
	if (!run->options.log)
		return 0;
	pid = nb_flow_log_start(run, false, &w->log_pipe);
	if (pid < 0)
		return (int)pid;
	w->log = pid;
	/* lines on standard output are the log's alone; ours are for people */
	if (strcmp(run->options.log, "-") == 0 && !run->options.json)
		dup2(STDERR_FILENO, STDOUT_FILENO);
	w->accounting = run->options.log_accounting;
	r = w->accounting ? nb_accounting_begin(run) : 0;
	return r;
}

static int set_up(struct watch *w)
{
	struct nb_run *run = w->run;
	int r;

	if (run->options.dry_run)
		return nb_error_set(&run->error, NB_STATUS_USAGE, EINVAL, "usage",
				    "watch has no dry run; 'nat-bridge check' says what it would "
				    "mend");
	if (run->options.log_accounting && !run->options.log)
		return nb_error_set(&run->error, NB_STATUS_USAGE, EINVAL, "usage",
				    "--log-accounting is for --log: nat-bridge watch --log "
				    "--log-accounting");
	if (run->options.log && !nb_sink_is_place(run->options.log))
		return nb_error_set(&run->error, NB_STATUS_USAGE, EINVAL, "usage",
				    "--log takes 'journal', '-' or a path with a slash, such as "
				    "./%.100s",
				    run->options.log);
	if (geteuid() != 0)
		return nb_error_set(
			&run->error, NB_STATUS_FAILED, EPERM, "permission",
			"watch changes the kernel: run it as root (sudo nat-bridge ...)");
	r = nb_run_prepare(run, false);
	if (r == 0)
		r = w->lock = nb_lock_watch(run);
	if (r >= 0)
		r = open_files(w);
	if (r < 0)
		return r;
	w->events = nb_events_open(&run->error);
	if (!w->events)
		return -run->error.number;
	w->signals = open_signals();
	w->clock = timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK);
	if (w->signals < 0 || w->clock < 0)
		return nb_error_set(&run->error, NB_STATUS_FAILED, errno, "kernel",
				    "signalfd or timerfd: %s", strerror(errno));
	r = set_up_log(w);
	if (r < 0)
		return r;
	w->beat = nb_notify_interval();
	w->next_beat = w->beat ? nb_monotonic_ms() + w->beat : 0;
	return 0;
}

/* How long nothing is to be done; -1: until something happens. */
static int patience(const struct watch *w)
{
	int64_t until = nb_pace_earlier(nb_pace_earlier(w->next_beat, w->reconnect), w->log_again);
	int64_t now = nb_monotonic_ms();

	until = nb_pace_earlier(until, w->cut);
	if (w->reasons && !w->child)
		until = nb_pace_earlier(until, w->due ? w->due : 1);
	if (until == 0)
		return -1;
	return until > now ? (int)(until - now) : 0;
}

static void act(struct watch *w)
{
	int64_t now = nb_monotonic_ms();

	if (w->cut && now >= w->cut) {
		/* where it does not wait that is blocked */
		kill(w->child, SIGTERM);
		w->cut = 0;
	}
	if (w->reasons && !w->child && now >= w->due)
		begin_look(w);
	if (w->reconnect && now >= w->reconnect)
		listen_docker(w);
	if (w->log_again && now >= w->log_again)
		start_log(w, true);
	if (w->next_beat && now >= w->next_beat) {
		nb_notify("WATCHDOG=1");
		w->next_beat = now + w->beat;
	}
}

static void wait_and_read(struct watch *w)
{
	enum { RULESET, DEVICES, FILES, SIGNALS, CLOCK, DOCKER, CHILD, LOG, COUNT };
	struct pollfd fds[COUNT] = {
		[FILES] = { .fd = w->files.fd },
		[SIGNALS] = { .fd = w->signals },
		[CLOCK] = { .fd = w->clock },
		[DOCKER] = { .fd = w->docker },
		[CHILD] = { .fd = w->child ? w->pipe : -1 },
		[LOG] = { .fd = w->log ? w->log_pipe : -1 },
	};

	nb_events_descriptors(w->events, &fds[RULESET].fd, &fds[DEVICES].fd);
	for (int i = 0; i < COUNT; i++)
		fds[i].events = POLLIN;
	if (!w->child && !w->reasons && !w->resting) {
		nb_rest();
		w->resting = true;
	}
	if (poll(fds, COUNT, patience(w)) <= 0)
		return;
	if (fds[RULESET].revents || fds[DEVICES].revents)
		read_events(w);
	if (fds[FILES].revents && nb_files_read(&w->files))
		want_look(w, REASON_FILES);
	if (fds[SIGNALS].revents)
		read_signals(w);
	if (fds[CLOCK].revents)
		read_clock(w);
	if (fds[DOCKER].revents)
		read_docker(w);
	if (fds[CHILD].revents)
		end_look(w);
	if (fds[LOG].revents)
		end_log(w);
}

int nb_command_watch(struct nb_run *run)
{
	struct watch w = { .run = run, .signals = -1, .clock = -1, .docker = -1, .files.fd = -1 };
	int r;

	run->stream = true;
	r = set_up(&w);

	if (r == 0)
		want_look(&w, REASON_ASKED);
	while (r == 0 && !(w.ending && !w.child)) {
		if (!w.ending)
			act(&w);
		wait_and_read(&w);
	}
	if (r == 0)
		nb_notify("STOPPING=1");
	if (w.log) {
		w.ending = true;
		kill(w.log, SIGTERM);
		end_log(&w);
	}
	/* one that was refused has not begun it: another watcher may have */
	if (w.accounting)
		nb_accounting_end(run);
	nb_element_list_clear(&w.remembered);
	nb_recall_clear(&w.recall);
	nb_events_close(w.events);
	nb_files_close(&w.files);
	for (int fds[] = { w.signals, w.clock, w.docker }, i = 0; i < 3; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	return r < 0 || w.unread ? nb_print_failure(run) : NB_STATUS_OK;
}
