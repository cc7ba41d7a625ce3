/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * nat-bridge watch --log: a line when a mapped flow begins, and one when it ends.
 *
 * Theory of operation
 * -------------------
 * A process of its own, because it may have to wait for whoever reads the lines, and mending must
 * not. What it tells comes from connection tracking's events. These are not complete, which it
 * has to know of in order not to lie:
 *
 *   - The event of an end (DESTROY) comes when the entry is forgotten, two minutes after a TCP
 *     connection has closed. So the closing state (UPDATE) is the end; it has no counters, for
 *     which the entry is asked.
 *   - An entry that is older than the listener may have no events at all (nf_conntrack_events
 *     is 2, the default since Linux 5.19). These are looked for every ten seconds.
 *   - A queue that is full loses events. That is a line of its own, and everything is looked at
 *     again.
 *   - Closed is what connection tracking believes, and what a container can make it believe. So when
 *     the entry is forgotten its counters are compared with those that were told.
 *   - An entry does not say why it goes. `remove` takes the mapping out first and ends the flow then,
 *     so whoever finds the mapping gone at a flow's end knows. A mapping with a timeout goes
 *     without any event: a timer has its moment.
 */
#include "flow_log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_conntrack_tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "../watch/rest.h"
#include "../watch/pace.h"
#include "accounting.h"
#include "flow_lines.h"
#include "flow_origin.h"
#include "nat-bridge/events.h"
#include "nat-bridge/refused.h"

#define POLL_MS	     10000 /* for flows of which no event comes */
#define REFUSED_MS   10000 /* for what was dropped, of which none comes, either */
#define REVIEW_MS    1000  /* at most so often: a change of the rules may have set another end */
#define LATE_PACKETS 4	   /* of a close come some more, acknowledgements and what is sent again */
#define MOST_READS   64	   /* before a look, however much there is */

/* What the kernel says of a mapping, as long as our table does not change. */
struct known {
	bool valid;
	struct nb_element element; /* bridge, protocol and port; the target, if it is live */
	bool live;
};
#define KNOWN_COUNT 64

struct log {
	struct nb_run *run;
	struct nb_conntrack_listener *listener;
	struct nb_events *events;
	struct nb_flow_lines lines;
	struct nb_flow_table table;
	struct nb_origins origins;
	struct known known[KNOWN_COUNT];
	struct nb_refused refused;
	bool refused_known;
	int signals;
	bool lost;	/* events were */
	int64_t look;	/* when everything is looked at, monotonic ms; 0: not */
	int64_t review; /* when ends of mappings are asked for anew; 0: not */
	int64_t count;	/* when refused packets are */
	int64_t end;	/* the first end of a mapping that a flow has, epoch ms; 0: none */
	bool ending;
	uint64_t flows; /* how many it has had */
};

/* --- What the kernel has of a flow's mapping --- */

/* Our table, a device: what is known of them is not known any more. */
static void hear_changes(struct log *log)
{
	struct nb_event_report report;

	nb_events_read(log->events, &report);
	if (report.what == 0)
		return;
	for (size_t i = 0; i < KNOWN_COUNT; i++)
		log->known[i].valid = false;
	nb_origins_forget(&log->origins);
	nb_flow_table_forget_origins(&log->table);
	if (!log->review && report.what & (NB_EVENT_RULESET | NB_EVENT_LOST))
		log->review = nb_monotonic_ms() + REVIEW_MS;
}

static struct known *ask_mapping(struct log *log, const struct nb_element *key)
{
	const struct nb_element_list keys = { .items = (struct nb_element[]){ *key }, .count = 1 };
	struct known *known = &log->known[(key->port * 31u + key->protocol) % KNOWN_COUNT];
	struct nb_error ignored = { 0 };
	struct nb_state state;

	if (known->valid && nb_element_compare_key(&known->element, key) == 0 &&
	    (!known->element.expires || known->element.expires > nb_now_ms()))
		return known;
	*known = (struct known){ .valid = true, .element = *key };
	if (nb_state_read_elements(log->run->nl, &keys, &state, &ignored) < 0) {
		/* not known: nobody says that it is gone */
		known->valid = false;
		known->live = true;
	} else if (state.targets.count) {
		known->live = true;
		known->element.target = state.targets.items[0].target;
		known->element.expires = state.targets.items[0].expires;
	}
	nb_state_clear(&state);
	return known;
}

/* What @bridge has that does what @entry had done, or NULL. */
static const struct nb_element *find_mapping(struct log *log, const char *bridge,
					     const struct nb_conntrack *entry)
{
	const struct nb_target target = nb_flow_target(entry);
	struct nb_element key = {
		.port = entry->original.destination_port,
		.protocol = entry->protocol,
		.target = target,
	};
	const struct known *known;

	memcpy(key.bridge, bridge, sizeof(key.bridge));
	known = ask_mapping(log, &key);
	return known->live && nb_target_equal(&known->element.target, &target) ? &known->element
									       : NULL;
}

/* Is its mapping live? Notes its end. */
static bool is_mapped(struct log *log, struct nb_flow *flow)
{
	const struct nb_element *mapping;

	hear_changes(log);
	mapping = find_mapping(log, flow->origin->bridge, &flow->entry);
	if (!mapping)
		return false;
	flow->until = mapping->expires;
	if (flow->until && (!log->end || flow->until < log->end))
		log->end = flow->until;
	return true;
}

/* Why it ends now; the entry itself says what @otherwise is. */
static enum nb_flow_reason judge(struct log *log, struct nb_flow *flow,
				 enum nb_flow_reason otherwise)
{
	int64_t until = flow->until;

	if (!flow->origin->bridge[0] || is_mapped(log, flow))
		return otherwise;
	/* what the kernel rounds is no revocation */
	return until && until <= nb_now_ms() + 1000 ? NB_FLOW_EXPIRED : NB_FLOW_REVOKED;
}

/* --- Flows --- */

/* Find the container, if it is not known; not that which has the address after it. */
static void name_origin(struct log *log, struct nb_origin *origin)
{
	if (origin->container[0])
		return;
	hear_changes(log);
	nb_origin_name(&log->origins, origin);
	hear_changes(log);
	if (!origin->current)
		origin->container[0] = '\0';
}

static void tell_end(struct log *log, struct nb_flow *flow, enum nb_flow_reason reason,
		     const struct nb_conntrack_detail *detail)
{
	name_origin(log, flow->origin);
	nb_flow_line_over(&log->lines, "end", flow, reason, detail);
	flow->told = true;
	flow->reason = (uint8_t)reason;
	for (int i = 0; i < 2; i++)
		flow->packets[i] = detail ? detail->packets[i] : 0;
}

/* It was told that it had closed, and more came: a reset that the peer did not believe, for one. */
static void tell_late(struct log *log, struct nb_flow *flow,
		      const struct nb_conntrack_detail *detail)
{
	uint64_t told = flow->packets[0] + flow->packets[1];

	/* of a mapping that has gone packets count, too, but are dropped */
	if (flow->reason != NB_FLOW_CLOSED || !detail->counted || told == 0 ||
	    detail->packets[0] + detail->packets[1] <= told + LATE_PACKETS)
		return;
	flow->over = 0;
	nb_flow_line_over(&log->lines, "late", flow, flow->reason, detail);
}

static struct nb_origin *find_origin(struct log *log, uint32_t address)
{
	struct nb_origin *origin;

	hear_changes(log);
	origin = nb_flow_table_origin(&log->table, address);
	if (!origin) {
		origin = nb_flow_table_add_origin(&log->table, address);
		if (!origin)
			return NULL;
		nb_origin_find(&log->origins, origin);
	}
	/* it may be forgotten meanwhile, and is needed */
	origin->flows++;
	name_origin(log, origin);
	origin->flows--;
	return origin;
}

/* Its flow cannot be that of whom the address belongs to: made up, or a mapping that just went. */
static struct nb_origin *nobody(struct log *log, uint32_t address)
{
	struct nb_origin *origin = nb_flow_table_add_origin(&log->table, address);

	if (origin)
		origin->current = false;
	return origin;
}

/* Is it what a mapping of any bridge does? */
static bool is_anybodys(struct log *log, const struct nb_conntrack *entry)
{
	const struct nb_bridge_list *bridges = nb_origins_bridges(&log->origins);

	for (size_t i = 0; i < bridges->count; i++)
		if (find_mapping(log, bridges->items[i].name, entry))
			return true;
	return false;
}

/* One that was not there. NULL: it is no mapping's, or there is no memory for it. */
static struct nb_flow *begin_flow(struct log *log, const struct nb_conntrack *entry,
				  const struct nb_conntrack_detail *detail, bool resumed)
{
	struct nb_origin *origin = find_origin(log, entry->original.source);
	struct nb_flow *flow;

	/* somebody's own DNAT to 127.0.0.0/8 */
	if (origin && !origin->bridge[0] && !is_anybodys(log, entry))
		return NULL;
	if (origin && (!origin->bridge[0] || !find_mapping(log, origin->bridge, entry)))
		origin = nobody(log, entry->original.source);
	flow = origin ? nb_flow_table_add(&log->table, entry, origin) : NULL;
	if (!flow) {
		log->lost = true;
		return NULL;
	}
	(void)is_mapped(log, flow);
	flow->number = ++log->flows;
	flow->resumed = resumed;
	flow->seen = true;
	if (detail && detail->began)
		flow->began = detail->began / 1000000;
	else if (!resumed)
		flow->began = detail && detail->at ? detail->at / 1000000 : nb_now_ms();
	nb_flow_line_start(&log->lines, flow);
	return flow;
}

/*
 * It has closed @at (nanoseconds, 0: now); its counters are asked for. Gone already: the event of
 * that has them.
 */
static void close_flow(struct log *log, struct nb_flow *flow, enum nb_flow_reason reason,
		       int64_t at)
{
	struct nb_conntrack_detail detail;
	struct nb_conntrack entry = flow->entry;
	int r;

	flow->over = at ? at / 1000000 : nb_now_ms();
	flow->reason = (uint8_t)judge(log, flow, reason);
	r = nb_conntrack_get(log->run->nl, &entry, &detail, NULL);
	if (r == -ENOENT && flow->heard)
		return;
	tell_end(log, flow, flow->reason, r < 0 ? NULL : &detail);
}

static bool has_closed(const struct nb_conntrack *entry)
{
	return entry->protocol == IPPROTO_TCP && (entry->tcp_state == TCP_CONNTRACK_TIME_WAIT ||
						  entry->tcp_state == TCP_CONNTRACK_CLOSE);
}

/* Its end was told, and it goes on, if it is still there. */
static void resume_flow(struct log *log, struct nb_flow *flow)
{
	struct nb_conntrack_detail ignored;
	struct nb_conntrack entry = flow->entry;

	/* two processors may tell of one flow, and the later word come first */
	if (nb_conntrack_get(log->run->nl, &entry, &ignored, NULL) < 0 || has_closed(&entry))
		return;
	flow->over = 0;
	flow->told = flow->finished = false;
	flow->resumed = true;
	nb_flow_line_start(&log->lines, flow);
}

static bool is_answered(const struct nb_conntrack *entry)
{
	return entry->status & IPS_SEEN_REPLY;
}

static void note_state(struct log *log, struct nb_flow *flow, uint8_t state, int64_t at)
{
	switch (state) {
	case TCP_CONNTRACK_SYN_RECV:
	case TCP_CONNTRACK_ESTABLISHED:
		if (flow->told)
			resume_flow(log, flow);
		break;
	case TCP_CONNTRACK_FIN_WAIT:
	case TCP_CONNTRACK_CLOSE_WAIT:
	case TCP_CONNTRACK_LAST_ACK:
		flow->finished = true;
		break;
	case TCP_CONNTRACK_TIME_WAIT:
	case TCP_CONNTRACK_CLOSE:
		if (!flow->told && !flow->over)
			close_flow(log, flow, NB_FLOW_CLOSED, at);
		break;
	}
}

static void destroy_flow(struct log *log, struct nb_flow *flow, const struct nb_conntrack *entry,
			 const struct nb_conntrack_detail *detail)
{
	bool closing = flow->over;
	enum nb_flow_reason reason;

	if (flow->told) {
		tell_late(log, flow, detail);
	} else {
		if (!flow->over && detail->at)
			flow->over = detail->at / 1000000;
		reason = flow->finished				    ? NB_FLOW_CLOSED
			 : has_closed(entry) && !is_answered(entry) ? NB_FLOW_REFUSED
			 : has_closed(entry)			    ? NB_FLOW_CLOSED
			 : detail->left				    ? NB_FLOW_DELETED
								    : NB_FLOW_IDLE;
		tell_end(log, flow, closing ? flow->reason : judge(log, flow, reason), detail);
	}
	nb_flow_table_remove(&log->table, flow);
}

/* Its tuple is another's by now, so that nobody saw how it ended. */
static void replace_flow(struct log *log, struct nb_flow *flow)
{
	if (!flow->told)
		tell_end(log, flow, NB_FLOW_UNKNOWN, NULL);
	nb_flow_table_remove(&log->table, flow);
}

static void handle(enum nb_conntrack_event event, const struct nb_conntrack *entry,
		   const struct nb_conntrack_detail *detail, void *data)
{
	struct log *log = data;
	struct nb_flow *flow = nb_flow_table_find(&log->table, entry);

	/* the end of the one before was lost */
	if (flow && event == NB_CONNTRACK_NEW && (flow->heard || flow->entry.id != entry->id)) {
		replace_flow(log, flow);
		flow = NULL;
	}
	/* one that had closed before anybody listened is forgotten only now */
	if (!flow && event == NB_CONNTRACK_DESTROY && has_closed(entry))
		return;
	if (!flow)
		flow = begin_flow(log, entry, detail, event != NB_CONNTRACK_NEW);
	if (!flow)
		return;
	flow->heard = true;
	if (event == NB_CONNTRACK_DESTROY)
		destroy_flow(log, flow, entry, detail);
	else
		note_state(log, flow, entry->tcp_state, detail->at);
}

/* True: there are more. */
static bool read_flows(struct log *log)
{
	unsigned int result = nb_conntrack_listener_read(log->listener, handle, log);

	log->lost |= result & NB_CONNTRACK_LOST;
	return result & NB_CONNTRACK_MORE;
}

/* --- Everything is looked at --- */

static bool is_to_loopback(const struct nb_conntrack *entry, const void *data)
{
	(void)data;
	return entry->reply.source >> 24 == 127;
}

static void look_at(struct log *log, const struct nb_conntrack *found)
{
	struct nb_flow *flow = nb_flow_table_find(&log->table, found);
	struct nb_conntrack_detail detail = { .counted = false };
	struct nb_conntrack entry = *found;

	if (flow && flow->entry.id != found->id) {
		replace_flow(log, flow);
		flow = NULL;
	}
	if (!flow) {
		/* one that has closed before anybody listened is no news */
		if (has_closed(found))
			return;
		if (nb_conntrack_get(log->run->nl, &entry, &detail, NULL) < 0)
			return;
		flow = begin_flow(log, &entry, &detail, true);
	}
	if (!flow)
		return;
	flow->seen = true;
	note_state(log, flow, found->tcp_state, 0);
}

static void look_at_all(struct log *log)
{
	struct nb_conntrack_list list = { 0 };
	struct nb_error error = { 0 };
	struct nb_flow *next;
	bool again = false;

	log->look = 0;
	for (struct nb_flow *flow = log->table.first; flow; flow = flow->next)
		flow->seen = false;
	if (nb_conntrack_dump(log->run->nl, IPS_DST_NAT, IPS_DST_NAT, is_to_loopback, NULL, &list,
			      &error) < 0) {
		log->look = nb_monotonic_ms() + POLL_MS;
		return;
	}
	/* what began just before has its event, and is not resumed */
	for (int i = 0; i < MOST_READS && read_flows(log); i++)
		;
	for (size_t i = 0; i < list.count; i++)
		look_at(log, &list.items[i]);
	nb_conntrack_list_clear(&list);
	for (struct nb_flow *flow = log->table.first; flow; flow = next) {
		next = flow->next;
		again |= !flow->heard;
		if (flow->seen)
			continue;
		/* nobody saw how it ended */
		if (!flow->told)
			tell_end(log, flow,
				 flow->over	  ? flow->reason
				 : flow->finished ? NB_FLOW_CLOSED
						  : judge(log, flow, NB_FLOW_UNKNOWN),
				 NULL);
		nb_flow_table_remove(&log->table, flow);
	}
	if (again)
		log->look = nb_monotonic_ms() + POLL_MS;
}

/* Mappings may have got another end, and some have reached theirs. */
static void review(struct log *log)
{
	log->review = 0;
	log->end = 0;
	for (struct nb_flow *flow = log->table.first; flow; flow = flow->next) {
		int64_t until = flow->until;

		/* its mapping is back, and the entry still there */
		if (flow->told &&
		    (flow->reason == NB_FLOW_EXPIRED || flow->reason == NB_FLOW_REVOKED) &&
		    is_mapped(log, flow))
			resume_flow(log, flow);
		if (flow->told || flow->over || is_mapped(log, flow))
			continue;
		if (until && until <= nb_now_ms())
			close_flow(log, flow, NB_FLOW_EXPIRED, until * 1000000);
	}
}

static void count_refused(struct log *log)
{
	struct nb_refused now;
	struct nb_error ignored = { 0 };

	log->count = nb_monotonic_ms() + REFUSED_MS;
	if (nb_refused_read(log->run->nl, &now, &ignored) < 0)
		return;
	for (size_t i = 0; log->refused_known && i < now.count; i++) {
		const struct nb_refusal *row = &now.items[i];
		const struct nb_refusal *was = nb_refused_find(&log->refused, row);
		uint64_t packets = row->packets, bytes = row->bytes;

		/* a table that was made anew counts from the beginning */
		if (was && was->packets <= packets) {
			packets -= was->packets;
			bytes -= was->bytes <= bytes ? was->bytes : bytes;
		}
		if (packets == 0)
			continue;
		nb_flow_line_refused(&log->lines, row, packets, bytes);
	}
	nb_refused_clear(&log->refused);
	log->refused = now;
	log->refused_known = true;
}

/* --- The process --- */

static void read_signals(struct log *log)
{
	struct signalfd_siginfo info;
	char text[200];
	int r;

	while (read(log->signals, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo != SIGHUP) {
			log->ending = log->lines.sink.hurry = true;
			continue;
		}
		/* somebody wants to know now */
		log->look = log->count = nb_monotonic_ms();
		r = nb_sink_reopen(&log->lines.sink);
		if (r < 0) {
			snprintf(text, sizeof(text),
				 "cannot open %.120s again: %s; the old one "
				 "goes on",
				 log->lines.sink.path, strerror(-r));
			nb_print_note(log->run, text);
		}
	}
}

/* How long nothing is to be done. */
static int patience(const struct log *log)
{
	int64_t now = nb_monotonic_ms();
	int64_t until = nb_pace_earlier(nb_pace_earlier(log->look, log->review), log->count);

	if (log->end) {
		int64_t left = log->end - nb_now_ms();

		until = nb_pace_earlier(until, now + (left > 0 ? left : 0) + 1);
	}
	return until > now ? (int)(until - now < POLL_MS ? until - now : POLL_MS) : 0;
}

static void act(struct log *log)
{
	int64_t now = nb_monotonic_ms();

	if (log->lost) {
		log->lost = false;
		nb_flow_line_lost(&log->lines,
				  "the kernel's queue was full, or there was no memory");
		log->look = now;
	}
	if (log->look && now >= log->look)
		look_at_all(log);
	if ((log->review && now >= log->review) || (log->end && nb_now_ms() > log->end))
		review(log);
	if (now >= log->count)
		count_refused(log);
}

static _Noreturn void run_log(struct log *log, bool resume)
{
	sigset_t signals;
	enum { FLOWS, RULESET, DEVICES, SIGNALS, COUNT };

	sigemptyset(&signals);
	sigaddset(&signals, SIGHUP);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	/* without a reader there is nothing to do; the watcher is told by that */
	signal(SIGPIPE, SIG_DFL);
	log->signals = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
	if (log->signals < 0)
		_exit(1);
	/* what was refused before is not this log's */
	count_refused(log);
	snprintf(log->lines.run_name, sizeof(log->lines.run_name), "%" PRIx64,
		 (uint64_t)nb_now_ms());
	log->lines.sink.interrupt = log->signals;
	nb_flow_line_frame(&log->lines, "log-begin", log->table.count,
			   log->run->options.log_accounting);
	if (resume)
		nb_flow_line_lost(&log->lines, "the process that logs was ended, and began anew");
	look_at_all(log);
	for (bool quiet = false; !log->ending;) {
		struct pollfd fds[COUNT] = {
			[FLOWS] = { .fd = nb_conntrack_listener_fd(log->listener) },
			[SIGNALS] = { .fd = log->signals },
		};

		act(log);
		nb_sink_flush(&log->lines.sink);
		nb_events_descriptors(log->events, &fds[RULESET].fd, &fds[DEVICES].fd);
		for (int i = 0; i < COUNT; i++)
			fds[i].events = POLLIN;
		if (quiet)
			nb_rest();
		quiet = poll(fds, COUNT, patience(log)) <= 0;
		if (quiet)
			continue;
		if (fds[RULESET].revents || fds[DEVICES].revents)
			hear_changes(log);
		if (fds[FLOWS].revents)
			(void)read_flows(log);
		if (fds[SIGNALS].revents)
			read_signals(log);
	}
	(void)read_flows(log);
	if (log->lost)
		nb_flow_line_lost(&log->lines, "the kernel's queue was full");
	count_refused(log);
	nb_flow_line_frame(&log->lines, "log-end", log->table.count,
			   log->run->options.log_accounting);
	nb_sink_close(&log->lines.sink);
	_exit(0);
}

static void clear(struct log *log)
{
	nb_conntrack_listener_free(log->listener);
	nb_events_close(log->events);
	nb_sink_close(&log->lines.sink);
	nb_netlink_free(log->run->nl);
}

static int open_all(struct log *log)
{
	struct nb_run *run = log->run;
	int r = nb_sink_open(&log->lines.sink, run->options.log, &run->error);

	if (r < 0)
		return r;
	log->listener = nb_conntrack_listen(&run->error);
	if (!log->listener)
		return -run->error.number;
	/* which has loaded what there is to load */
	r = nb_accounting_check_events(run);
	if (r < 0)
		return r;
	log->events = nb_events_open(&run->error);
	if (!log->events)
		return -run->error.number;
	return 0;
}

pid_t nb_flow_log_start(struct nb_run *run, bool resume, int *ret_pipe)
{
	struct nb_run own = { .options = run->options,
			      .config = run->config,
			      .command = run->command };
	struct log log = { .run = &own, .signals = -1, .lines.sink.fd = -1, .origins.run = &own };
	pid_t parent = getpid(), pid = -1;
	int ends[2] = { -1, -1 }, r;

	own.nl = nb_netlink_new();
	r = own.nl ? open_all(&log) : nb_out_of_memory(&own);
	if (r == 0 && pipe2(ends, O_CLOEXEC) < 0)
		r = nb_error_set(&own.error, NB_STATUS_FAILED, errno, "kernel", "pipe: %s",
				 strerror(errno));
	if (r == 0) {
		fflush(stdout);
		pid = fork();
		if (pid == 0) {
			close(ends[0]);
			/* nothing is told where nobody keeps the kernel as it is told */
			prctl(PR_SET_PDEATHSIG, SIGTERM);
			if (getppid() != parent)
				_exit(1);
			run_log(&log, resume);
		}
		r = pid < 0 ? nb_error_set(&own.error, NB_STATUS_FAILED, errno, "kernel",
					   "fork: %s", strerror(errno))
			    : 0;
		close(ends[1]);
		if (r < 0)
			close(ends[0]);
	}
	clear(&log);
	if (r < 0) {
		run->error = own.error;
		return r;
	}
	*ret_pipe = ends[0];
	return pid;
}
