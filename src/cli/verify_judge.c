/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What was expected of each shot, and what was seen. */
#include <errno.h>
#include <netinet/in.h>
#include <linux/netfilter.h> /* behind it: both define the same */
#include <stdlib.h>
#include <string.h>

#include "../model/text.h"
#include "verify.h"

static struct nb_check *append(struct nb_verify *verify)
{
	if (verify->count == verify->capacity) {
		size_t capacity = verify->capacity ? 2 * verify->capacity : 256;
		struct nb_check *grown = realloc(verify->checks, capacity * sizeof(*grown));

		if (!grown)
			return NULL;
		verify->checks = grown;
		verify->capacity = capacity;
	}
	memset(&verify->checks[verify->count], 0, sizeof(*verify->checks));
	return &verify->checks[verify->count++];
}

#define SEE(check, good, ...)                                                \
	do {                                                                 \
		(check)->ok = (good);                                        \
		snprintf((check)->seen, sizeof((check)->seen), __VA_ARGS__); \
	} while (0)
#define SAY(check, ...) snprintf((check)->why, sizeof((check)->why), __VA_ARGS__)

static const char *format(uint32_t address, uint16_t port, char *buffer)
{
	const struct nb_target where = { .address = address, .port = port };

	return nb_target_format(&where, buffer);
}

static bool is_loopback(uint32_t address)
{
	return address >> 24 == 127;
}

enum takes { TAKES_NOBODY, TAKES_ANY, TAKES_EXACT, TAKES_UNKNOWN };

/* Who takes what comes to @address:@port: a socket of that address goes before one of all. */
static enum takes who_takes(const struct nb_verify *verify, uint8_t protocol, uint32_t address,
			    uint16_t port)
{
	struct nb_listener_list list;
	enum takes found = TAKES_NOBODY;

	if (!nb_host_listeners_on(&verify->listeners, protocol, port, &list))
		return TAKES_UNKNOWN;
	for (size_t i = 0; i < list.count; i++) {
		const struct nb_listener *listener = &list.items[i];

		if (!listener->ipv4 || listener->device)
			continue;
		if (listener->any && found == TAKES_NOBODY)
			found = TAKES_ANY;
		else if (!listener->any && listener->bound == address)
			found = TAKES_EXACT;
	}
	return found;
}

static const char *doctor(const struct nb_stored *stored, char *buffer, size_t size)
{
	char network[NB_NETWORK_SIZE];

	snprintf(buffer, size, "nat-bridge doctor %s %u/%s",
		 nb_network_format(&stored->mapping.network, network), stored->mapping.port,
		 nb_protocol_name(stored->mapping.protocol));
	return buffer;
}

/* It came to the mapping's target. @command finds out more. */
static void judge_arrived(const struct nb_verify *verify, const struct nb_shot *shot,
			  const struct nb_mapping *mapping, const char *command,
			  struct nb_check *check)
{
	bool tcp = shot->protocol == IPPROTO_TCP;
	char target[NB_TARGET_SIZE];

	nb_target_format(&mapping->target, target);
	if (shot->result == NB_PROBE_CONNECTED) {
		SEE(check, true, "reached%s",
		    !verify->run->options.payload ? ""
		    : shot->spoke		  ? ", answered"
						  : ", silent");
	} else if (shot->result == NB_PROBE_ANSWERED) {
		SEE(check, true, "answered");
	} else if (shot->result == NB_PROBE_REFUSED ||
		   who_takes(verify, shot->protocol, mapping->target.address,
			     mapping->target.port) == TAKES_NOBODY) {
		SEE(check, false, "refused");
		SAY(check, "nothing listens on %s/%s", target, nb_protocol_name(shot->protocol));
	} else if (!tcp) {
		SEE(check, true, "sent, no refusal");
	} else {
		SEE(check, false, "no answer");
		SAY(check, "it came to %s, and the answer did not come back: see %s", target,
		    command);
	}
}

static void judge_inside(const struct nb_verify *verify, const struct nb_shot *shot,
			 struct nb_check *check)
{
	const struct nb_stored *stored = nb_verify_mapping(verify, shot->mapping);
	const struct nb_mapping *mapping = &stored->mapping;
	char where[NB_TARGET_SIZE], command[NB_NETWORK_SIZE + 48];

	doctor(stored, command, sizeof(command));
	if (shot->heard && shot->heard_address == mapping->target.address &&
	    shot->heard_port == mapping->target.port) {
		judge_arrived(verify, shot, mapping, command, check);
		return;
	}
	if (shot->heard) {
		format(shot->heard_address, shot->heard_port, where);
		SEE(check, false, "came to %s", where);
		SAY(check, "it was not translated, or by somebody else (%s)", command);
	} else if (shot->result == NB_PROBE_CONNECTED || shot->result == NB_PROBE_ANSWERED) {
		SEE(check, false, "reached another");
		SAY(check,
		    "no socket of this host got it: somebody's DNAT comes first, or a SNAT "
		    "rewrites who asks (%s)",
		    command);
	} else {
		SEE(check, false, "%s",
		    shot->result == NB_PROBE_REFUSED	   ? "refused"
		    : shot->result == NB_PROBE_UNREACHABLE ? "unreachable"
		    : shot->result == NB_PROBE_FAILED	   ? "not sent"
							   : "no answer");
		SAY(check, "it did not come to %s: see %s",
		    nb_target_format(&mapping->target, where), command);
	}
}

/* A socket that listens on every address: the mapping's service itself, and if that is not known. */
static bool is_the_service(const struct nb_verify *verify, const struct nb_shot *shot)
{
	const struct nb_mapping *mapping = &nb_verify_mapping(verify, shot->mapping)->mapping;
	enum takes takes = who_takes(verify, shot->protocol, shot->heard_address, shot->heard_port);

	if (takes == TAKES_UNKNOWN)
		return shot->result == NB_PROBE_CONNECTED || shot->result == NB_PROBE_ANSWERED;
	return takes == TAKES_ANY && shot->heard_port == mapping->target.port;
}

/* It may be a proxy to the service, or have nothing to do with it: that is not for us to know. */
static void warn_of_another(const struct nb_verify *verify, const struct nb_shot *shot,
			    bool answered)
{
	char where[NB_TARGET_SIZE];

	if (answered && shot->mapping != NB_NO_MAPPING)
		nb_warn(&verify->run->warnings,
			"another service answers on %s/%s: if it is a proxy to a mapped one, that "
			"is open there",
			who_takes(verify, shot->protocol, shot->heard_address, shot->heard_port) ==
					TAKES_ANY
				? format(0, shot->heard_port, where)
				: format(shot->heard_address, shot->heard_port, where),
			nb_protocol_name(shot->protocol));
}

static void judge_closed(const struct nb_verify *verify, const struct nb_shot *shot,
			 struct nb_check *check)
{
	bool answered = shot->result == NB_PROBE_CONNECTED || shot->result == NB_PROBE_ANSWERED;
	char where[NB_TARGET_SIZE];

	if (shot->heard && is_loopback(shot->heard_address)) {
		SEE(check, false, "%s",
		    answered			       ? "reached"
		    : shot->result == NB_PROBE_REFUSED ? "arrived, refused"
						       : "arrived");
		if (shot->from == NB_FROM_RAW)
			SAY(check,
			    "a frame to 127.0.0.0/8 came in through %s: no guard stands there "
			    "(nat-bridge apply), or route_localnet is on where nothing is mapped",
			    check->via);
		else
			SAY(check, "it came to %s: another rule than nat-bridge's translates it",
			    format(shot->heard_address, shot->heard_port, where));
	} else if (shot->heard && shot->mapping != NB_NO_MAPPING && is_the_service(verify, shot)) {
		SEE(check, false, "reached");
		SAY(check,
		    "the service itself listens on every address%s: make it listen on 127.0.0.1",
		    shot->heard_port == shot->port ? "" : ", and a rule leads there");
	} else if (shot->heard) {
		warn_of_another(verify, shot, answered);
		SEE(check, true, "%s",
		    who_takes(verify, shot->protocol, shot->heard_address, shot->heard_port) ==
				    TAKES_NOBODY
			    ? "closed"
			    : "closed (another service)");
	} else if (answered) {
		SEE(check, false, "reached");
		SAY(check, "no socket of this host answered: a container that publishes this port, "
			   "or somebody's DNAT");
	} else {
		SEE(check, true, "closed");
	}
}

static int judge_shot(struct nb_verify *verify, const struct nb_station *station,
		      const struct nb_shot *shot)
{
	struct nb_check *check = append(verify);

	if (!check)
		return -ENOMEM;
	check->from = shot->from;
	check->mapping = shot->mapping;
	strcpy(check->via, station->bridge[0] ? station->bridge : "lan");
	check->container = station->pid ? station->container : NULL;
	check->protocol = shot->protocol;
	check->port = shot->mapping == NB_NO_MAPPING
			      ? shot->port
			      : nb_verify_mapping(verify, shot->mapping)->mapping.port;
	check->reach = shot->from == NB_FROM_NETWORK;
	format(shot->address, shot->port, check->to);
	if (check->reach)
		judge_inside(verify, shot, check);
	else
		judge_closed(verify, shot, check);
	return 0;
}

/* Its network could not be entered. */
static int judge_unentered(struct nb_verify *verify, size_t mapping)
{
	const struct nb_stored *stored = nb_verify_mapping(verify, mapping);
	const struct nb_station *station = nb_verify_station(verify, stored->bridge);
	struct nb_check *check;

	if (!station || station->result == 0)
		return 0;
	check = append(verify);
	if (!check)
		return -ENOMEM;
	check->from = NB_FROM_NETWORK;
	check->mapping = mapping;
	strcpy(check->via, stored->bridge);
	check->protocol = stored->mapping.protocol;
	check->port = stored->mapping.port;
	check->reach = true;
	SEE(check, false, "not tried");
	nb_copy_line(check->why, sizeof(check->why), station->error.message);
	return 0;
}

/* Two guards stand for one another, so frames alone do not show that one is missing. */
static int judge_guard(struct nb_verify *verify, const struct nb_link *link)
{
	const struct nb_state *state = &verify->view.state;
	bool managed = nb_bridge_find(&state->bridges, link->name) != NULL;
	bool ruled = managed && state->table == NB_TABLE_SOUND;
	bool possible = state->ingress != NB_INGRESS_IMPOSSIBLE;
	struct nb_check *check = append(verify);
	char setting[NB_SETTING_SIZE];

	if (!check)
		return -ENOMEM;
	check->from = NB_FROM_GUARD;
	check->mapping = NB_NO_MAPPING;
	strcpy(check->bridge, link->name);
	strcpy(check->via, link->name);
	strcpy(check->to, "127.0.0.0/8");
	if (ruled && (link->ingress.current || !possible)) {
		SEE(check, true, "guarded");
		return 0;
	}
	SEE(check, false, "%s",
	    ruled		    ? "no ingress filter"
	    : link->ingress.current ? "no guard in nftables"
				    : "no guard");
	if (managed || nb_link_is_tagged(link))
		SAY(check, "%s%snat-bridge apply", state->damage, state->damage[0] ? ": " : "");
	else
		SAY(check, "route_localnet is on, and nothing is mapped there: sysctl -w %s=0",
		    nb_setting_text(link->name, "route_localnet", setting));
	return 0;
}

/* A rule that leads to 127.0.0.0/8 opens what no mapping says. */
static int judge_dnat(struct nb_verify *verify, const struct nb_foreign_dnat *dnat)
{
	struct nb_check *check = append(verify);

	if (!check)
		return -ENOMEM;
	check->from = NB_FROM_GUARD;
	check->mapping = NB_NO_MAPPING;
	strcpy(check->bridge, dnat->bridge[0] ? dnat->bridge : "any device");
	strcpy(check->to, "127.0.0.0/8");
	SEE(check, false, "somebody's DNAT");
	SAY(check, "rule %llu of chain %s %s %s leads there, beside nat-bridge",
	    (unsigned long long)dnat->handle, dnat->family == NFPROTO_IPV4 ? "ip" : "inet",
	    dnat->table, dnat->chain);
	return 0;
}

bool nb_verify_is_mapped(const struct nb_verify *verify, const char *bridge)
{
	for (size_t i = 0; i < verify->mapping_count; i++)
		if (strcmp(nb_verify_mapping(verify, i)->bridge, bridge) == 0)
			return true;
	return false;
}

int nb_verify_judge(struct nb_verify *verify)
{
	const struct nb_link_list *links = nb_view_links(&verify->view);
	int r = 0;

	for (size_t i = 0; r == 0 && i < verify->mapping_count; i++)
		r = judge_unentered(verify, i);
	for (size_t i = 0; r == 0 && i < verify->station_count; i++) {
		const struct nb_station *station = &verify->stations[i];

		for (size_t j = 0; r == 0 && station->result == 0 && j < station->count; j++)
			r = judge_shot(verify, station, &station->shots[j]);
	}
	for (size_t i = 0; r == 0 && i < links->count; i++) {
		const struct nb_link *link = &links->items[i];

		if (!link->loopback &&
		    (link->route_localnet || nb_verify_is_mapped(verify, link->name)) &&
		    strncmp(link->name, NB_PROBE_PREFIX, strlen(NB_PROBE_PREFIX)) != 0)
			r = judge_guard(verify, link);
	}
	for (size_t i = 0; r == 0 && i < verify->dnats.dnat_count; i++)
		r = judge_dnat(verify, &verify->dnats.dnats[i]);
	for (size_t i = 0; i < verify->count; i++)
		verify->bad += !verify->checks[i].ok;
	return r;
}
