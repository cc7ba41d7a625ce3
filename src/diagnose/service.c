/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who listens on the target, and who else can reach it. */
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../model/text.h"
#include "diagnose.h"
#include "nat-bridge/host.h"
#include "nat-bridge/listen.h"

/* Every listener of a protocol, and the processes that hold those. */
struct listeners {
	struct nb_listener_list list;
	struct nb_holder *holders;
	size_t holder_count;
};

static bool read_listeners(struct nb_diagnosis *diagnosis, uint8_t protocol, struct listeners *ret)
{
	struct nb_error ignored;

	memset(ret, 0, sizeof(*ret));
	if (nb_listeners(diagnosis->nl, protocol, 0, &ret->list, &ignored) < 0)
		return false;
	ret->holders = calloc(ret->list.count + 1, sizeof(*ret->holders));
	if (!ret->holders)
		return true;
	ret->holder_count = ret->list.count;
	for (size_t i = 0; i < ret->holder_count; i++)
		ret->holders[i].inode = ret->list.items[i].inode;
	if (nb_holders_find(ret->holders, ret->holder_count) < 0)
		ret->holder_count = 0;
	return true;
}

static void clear(struct listeners *listeners)
{
	nb_listener_list_clear(&listeners->list);
	free(listeners->holders);
}

/* "127.0.0.2:5432 (postgres, pid 812)" */
static const char *word_listener(const struct listeners *listeners,
				 const struct nb_listener *listener, char *buffer, size_t size)
{
	const struct nb_holder *holder = nb_holder_find(listeners->holders, listeners->holder_count,
							listener->inode);

	if (holder && holder->pid)
		snprintf(buffer, size, "%s:%u (%s, pid %d)", listener->address, listener->port,
			 holder->name, (int)holder->pid);
	else
		snprintf(buffer, size, "%s:%u", listener->address, listener->port);
	return buffer;
}

static void blame_device(struct nb_diagnosis *diagnosis, const struct nb_case *one,
			 const struct listeners *listeners, const struct nb_listener *listener)
{
	char target[NB_TARGET_SIZE], who[160], device[IF_NAMESIZE] = "";
	struct nb_cause *cause = nb_blame_case(diagnosis, one, "listener-device");

	if (!cause)
		return;
	if (!if_indextoname(listener->device, device))
		snprintf(device, sizeof(device), "%u", listener->device);
	cause->claim = NB_CLAIMS_TO_STOP;
	snprintf(cause->what, sizeof(cause->what),
		 "what listens on %s/%s is bound to device %s and refuses what comes from another",
		 nb_target_format(&one->mapping->target, target),
		 nb_protocol_name(one->mapping->protocol), device);
	snprintf(cause->evidence, sizeof(cause->evidence), "%s, on %s alone",
		 word_listener(listeners, listener, who, sizeof(who)), device);
	if (one->mapping->target.port == 53)
		snprintf(cause->mend, sizeof(cause->mend),
			 "let systemd-resolved listen on the bridge: DNSStubListenerExtra= in "
			 "/etc/systemd/resolved.conf, or map another resolver");
	else
		snprintf(cause->mend, sizeof(cause->mend),
			 "configure the service without a device (SO_BINDTODEVICE)");
}

static void blame_address(struct nb_diagnosis *diagnosis, const struct nb_case *one,
			  const struct listeners *listeners, const struct nb_listener *listener)
{
	const struct nb_mapping *mapping = one->mapping;
	char target[NB_TARGET_SIZE], who[160], network[NB_NETWORK_SIZE];
	struct nb_cause *cause = nb_blame_case(diagnosis, one, "listener-address");
	const char *protocol = nb_protocol_name(mapping->protocol);

	if (!cause)
		return;
	cause->claim = NB_CLAIMS_TO_STOP;
	nb_target_format(&mapping->target, target);
	word_listener(listeners, listener, who, sizeof(who));
	snprintf(cause->what, sizeof(cause->what),
		 "nothing listens on %s/%s, but something does on %s:%u", target, protocol,
		 listener->address, listener->port);
	snprintf(cause->evidence, sizeof(cause->evidence), "%s", who);
	if (listener->ipv4 && listener->bound >> 24 == 127)
		snprintf(cause->mend, sizeof(cause->mend),
			 "nat-bridge add --replace %s %u:%s:%u/%s",
			 nb_network_format(&mapping->network, network), mapping->port,
			 listener->address, listener->port, protocol);
	else
		snprintf(
			cause->mend, sizeof(cause->mend),
			"make the service listen on %.*s, too (its option is mostly called listen, "
			"bind or host)",
			(int)strcspn(target, ":"), target);
}

static void blame_nobody(struct nb_diagnosis *diagnosis, const struct nb_case *one)
{
	struct nb_cause *cause = nb_blame_case(diagnosis, one, "no-listener");
	char target[NB_TARGET_SIZE];

	if (!cause)
		return;
	cause->claim = NB_CLAIMS_TO_STOP;
	nb_target_format(&one->mapping->target, target);
	snprintf(cause->what, sizeof(cause->what), "nothing listens on %s/%s", target,
		 nb_protocol_name(one->mapping->protocol));
	snprintf(cause->evidence, sizeof(cause->evidence),
		 "no socket of the host has port %u, on whatever address",
		 one->mapping->target.port);
	snprintf(cause->mend, sizeof(cause->mend), "start the service on %s", target);
}

static void warn_open(struct nb_diagnosis *diagnosis, const struct nb_case *one,
		      const struct listeners *listeners, const struct nb_listener *listener)
{
	struct nb_cause *cause = nb_blame_case(diagnosis, one, "service-open");
	char who[160];

	if (!cause)
		return;
	cause->severity = NB_WARNING;
	snprintf(cause->what, sizeof(cause->what),
		 "the service on port %u/%s listens on every address: it is reachable without a "
		 "mapping, too",
		 one->mapping->target.port, nb_protocol_name(one->mapping->protocol));
	snprintf(cause->evidence, sizeof(cause->evidence), "%s",
		 word_listener(listeners, listener, who, sizeof(who)));
	snprintf(cause->mend, sizeof(cause->mend), "make the service listen on 127.0.0.1 alone");
}

/* Its queue of connections is full: the kernel drops the first packet of each new one. */
static void blame_hung(struct nb_diagnosis *diagnosis, const struct nb_case *one,
		       const struct listeners *listeners, const struct nb_listener *listener)
{
	struct nb_cause *cause = nb_blame_case(diagnosis, one, "service-hangs");
	char who[160];

	if (!cause)
		return;
	cause->claim = NB_CLAIMS_TO_STOP;
	word_listener(listeners, listener, who, sizeof(who));
	snprintf(cause->what, sizeof(cause->what),
		 "the service on %s takes no connections: %u wait, and there is room for %u", who,
		 listener->waiting, listener->room);
	snprintf(cause->evidence, sizeof(cause->evidence),
		 "ss -ltn: Recv-Q of port %u is greater than Send-Q", listener->port);
	snprintf(cause->mend, sizeof(cause->mend),
		 "restart the service, or look what it waits for");
}

/* Stopped by a signal, by ^Z, or by a debugger. */
static bool is_stopped(pid_t pid, char *ret_state)
{
	char path[48], text[256];
	const char *state;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	if (!nb_read_word(path, text, sizeof(text)))
		return false;
	/* the name before it may hold whatever */
	state = strrchr(text, ')');
	*ret_state = state && state[1] == ' ' ? state[2] : '?';
	return *ret_state == 'T' || *ret_state == 't';
}

static void blame_stopped(struct nb_diagnosis *diagnosis, const struct nb_case *one,
			  const struct nb_holder *holder, char state)
{
	struct nb_cause *cause = nb_blame_case(diagnosis, one, "service-hangs");

	if (!cause)
		return;
	cause->claim = NB_CLAIMS_TO_STOP;
	snprintf(cause->what, sizeof(cause->what),
		 "the service on port %u (%s, pid %d) is stopped: the kernel takes connections for "
		 "it, and it takes none from the kernel",
		 one->mapping->target.port, holder->name, (int)holder->pid);
	snprintf(cause->evidence, sizeof(cause->evidence), "/proc/%d/stat: %c", (int)holder->pid,
		 state);
	if (state == 'T')
		snprintf(cause->mend, sizeof(cause->mend), "kill -CONT %d", (int)holder->pid);
	else
		snprintf(cause->mend, sizeof(cause->mend),
			 "let the debugger or tracer of pid %d go on", (int)holder->pid);
}

/*
 * An engine that publishes without a proxy keeps the port for itself, and on the host its own translation
 * leads to the container before any socket is asked. Who has such a name may serve, too.
 */
static bool is_placeholder(const struct nb_holder *holder)
{
	return strcmp(holder->name, "dockerd") == 0 || strcmp(holder->name, "conmon") == 0;
}

static void blame_placeholder(struct nb_diagnosis *diagnosis, const struct nb_case *one,
			      const struct nb_holder *holder)
{
	struct nb_cause *cause = nb_blame_case(diagnosis, one, "service-hangs");

	if (!cause)
		return;
	cause->claim = NB_CLAIMS_MAYBE;
	snprintf(cause->what, sizeof(cause->what),
		 "%s (pid %d) only keeps port %u, for a container that publishes it: it takes no "
		 "connection",
		 holder->name, (int)holder->pid, one->mapping->target.port);
	snprintf(cause->evidence, sizeof(cause->evidence),
		 "on this host the engine leads to the container before a socket is asked");
	snprintf(cause->mend, sizeof(cause->mend),
		 "no mapping: let the containers dial the one that publishes %u, by its name, on a "
		 "network that they share",
		 one->mapping->target.port);
}

/* What is known of who listens that keeps him from taking connections. */
static void check_holder(struct nb_diagnosis *diagnosis, struct nb_case *one,
			 const struct listeners *listeners, const struct nb_listener *listener)
{
	const struct nb_holder *holder = nb_holder_find(listeners->holders, listeners->holder_count,
							listener->inode);
	char state;

	if (!holder || !holder->pid || one->mapping->protocol != IPPROTO_TCP || one->takes_nothing)
		return;
	if (is_stopped(holder->pid, &state)) {
		one->takes_nothing = true;
		blame_stopped(diagnosis, one, holder, state);
	} else if (is_placeholder(holder)) {
		one->takes_nothing = true;
		blame_placeholder(diagnosis, one, holder);
	}
}

static void note_program(struct nb_case *one, const struct listeners *listeners,
			 const struct nb_listener *listener)
{
	const struct nb_holder *holder = nb_holder_find(listeners->holders, listeners->holder_count,
							listener->inode);

	if (!holder || !holder->pid)
		return;
	one->program_pid = holder->pid;
	snprintf(one->program, sizeof(one->program), "%.15s", holder->name);
}

static void check_case(struct nb_diagnosis *diagnosis, struct nb_case *one,
		       const struct listeners *listeners)
{
	uint32_t address = one->mapping->target.address;
	struct nb_listener_list here = nb_listeners_on(&listeners->list, one->mapping->target.port);
	const struct nb_listener *bound = NULL, *open = NULL, *hung = NULL;
	bool served = false;

	for (size_t i = 0; i < here.count; i++) {
		const struct nb_listener *listener = &here.items[i];

		if (nb_listener_serves(listener, address)) {
			served = one->has_uid = true;
			one->uid = listener->uid;
			note_program(one, listeners, listener);
			check_holder(diagnosis, one, listeners, listener);
			hung = listener->room && listener->waiting > listener->room ? listener
										    : hung;
			open = listener->any ? listener : open;
		} else if (listener->device && listener->ipv4 &&
			   (listener->any || listener->bound == address)) {
			bound = listener;
		}
	}
	if (served && hung)
		blame_hung(diagnosis, one, listeners, hung);
	if (served && open)
		warn_open(diagnosis, one, listeners, open);
	else if (!served && bound)
		blame_device(diagnosis, one, listeners, bound);
	else if (!served && here.count)
		blame_address(diagnosis, one, listeners, &here.items[0]);
	else if (!served)
		blame_nobody(diagnosis, one);
}

void nb_check_services(struct nb_diagnosis *diagnosis)
{
	static const uint8_t protocols[] = { IPPROTO_TCP, IPPROTO_UDP };

	for (size_t p = 0; p < sizeof(protocols); p++) {
		struct listeners listeners;

		/* without sock_diag nothing is known */
		if (read_listeners(diagnosis, protocols[p], &listeners)) {
			for (size_t i = 0; i < diagnosis->case_count; i++)
				if (diagnosis->cases[i].in_force &&
				    diagnosis->cases[i].mapping->protocol == protocols[p])
					check_case(diagnosis, &diagnosis->cases[i], &listeners);
		}
		clear(&listeners);
	}
}
