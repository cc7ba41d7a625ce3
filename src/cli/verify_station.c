/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The work of one station. It runs in a thread, and touches nothing but the station. */
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "../model/text.h"
#include "nat-bridge/payload.h"
#include "verify.h"

#define CONNECT_MS    2500 /* a SYN is sent again after a second */
#define DATAGRAM_MS   400
#define RAW_MS	      600
#define MOST_ATTEMPTS 4
#define RAW_MOST      10000

/* As the engine calls who has our address; otherwise there is a number. */
static void name_container(struct nb_station *station)
{
	const struct nb_engine_endpoints *neighbours = station->neighbours;
	uint32_t address = nb_probe_address(station->place);

	for (size_t i = 0; neighbours && i < neighbours->count; i++)
		if (neighbours->items[i].address == address)
			nb_copy_line(station->container, sizeof(station->container),
				     neighbours->items[i].container);
}

/* Inside a container, to dial the address that its bridge has in its network. */
static int enter(struct nb_station *station)
{
	const struct nb_address_list *addresses = &station->verify->addresses;
	struct nb_error *err = &station->error;
	int r;

	snprintf(station->container, sizeof(station->container), "pid %d", (int)station->pid);
	r = nb_probe_enter(station->pid, &station->place, err);
	if (r < 0)
		return r;
	r = nb_error_set(err, NB_STATUS_FAILED, EADDRNOTAVAIL, "kernel",
			 "the host has no address on that network");
	for (size_t i = 0; r < 0 && i < addresses->count; i++)
		if (addresses->items[i].ifindex == station->link->index)
			r = nb_probe_face(station->place, addresses->items[i].prefix.address,
					  addresses->items[i].prefix.length, err);
	if (r == 0)
		name_container(station);
	return r;
}

/* A stopped container may come back with its address, so what the engine gave is nobody else's. */
static int join(struct nb_station *station)
{
	const struct nb_engine_endpoints *taken = &station->endpoints;
	uint32_t *avoid = calloc(taken->count + 1, sizeof(*avoid));
	int r;

	if (!avoid)
		return nb_error_set(&station->error, NB_STATUS_FAILED, ENOMEM, "memory",
				    "out of memory");
	for (size_t i = 0; i < taken->count; i++)
		avoid[i] = taken->items[i].address;
	r = nb_probe_join_beside(station->nl, station->bridge, avoid, taken->count, &station->place,
				 &station->error);
	free(avoid);
	return r;
}

void nb_station_open(struct nb_station *station)
{
	struct nb_error *err = &station->error;

	station->nl = nb_netlink_new();
	if (!station->nl) {
		station->result = nb_error_set(err, NB_STATUS_FAILED, ENOMEM, "memory",
					       "out of memory");
		return;
	}
	if (station->pid)
		station->result = enter(station);
	else if (station->bridge[0])
		station->result = join(station);
	else
		station->result = nb_probe_new_network(station->nl, &station->place, err);
	if (station->result == 0)
		station->result = nb_probe_listen(station->place, &station->ear, err);
}

void nb_station_close(struct nb_station *station)
{
	nb_probe_deafen(station->ear);
	nb_probe_leave(station->place);
	nb_netlink_free(station->nl);
	nb_engine_endpoints_clear(&station->endpoints);
	free(station->shots);
}

/* With --payload: what is in @payloads for that dialect, which outlives the probe. */
static void set_payload(const struct nb_station *station, const struct nb_shot *shot,
			char payloads[][NB_PAYLOAD_SIZE], struct nb_probe *probe)
{
	const struct nb_stored *stored = nb_verify_mapping(station->verify, shot->mapping);
	enum nb_dialect dialect = shot->protocol == IPPROTO_UDP
					  ? nb_payload_dialect(shot->protocol,
							       stored->mapping.target.port, "")
					  : NB_DIALECT_NONE;

	if (!station->verify->run->options.payload)
		return;
	/* what it speaks nobody asks here: any service may say of a line what it likes */
	if (dialect == NB_DIALECT_NONE)
		dialect = NB_DIALECT_LINE;
	probe->payload = payloads[dialect];
	probe->length = nb_payload_write(dialect, "", payloads[dialect]);
}

/*
 * It reached somebody, and no socket of this host was heard of by its source port. Somebody else's DNAT
 * does that. So does chance: what is heard may be lost on a busy host, and if connection tracking knows
 * another connection from that port to the same target, by another mapped port, the kernel gives this
 * one a port of its own.
 */
static bool is_unheard(const struct nb_shot *shot)
{
	return shot->from == NB_FROM_NETWORK && !shot->heard &&
	       (shot->result == NB_PROBE_CONNECTED || shot->result == NB_PROBE_ANSWERED);
}

/* From inside: by ordinary sockets. With @again only what chance may have kept from being heard. */
static int dial(struct nb_station *station, uint8_t protocol, int timeout, bool again)
{
	struct nb_probe *probes = calloc(station->count + 1, sizeof(*probes));
	char payloads[NB_DIALECT_COUNT][NB_PAYLOAD_SIZE];
	size_t *of = calloc(station->count + 1, sizeof(*of));
	size_t count = 0;
	int r = -ENOMEM;

	for (size_t i = 0; probes && of && i < station->count; i++) {
		const struct nb_shot *shot = &station->shots[i];

		if (shot->from != NB_FROM_NETWORK || shot->protocol != protocol ||
		    (again && !is_unheard(shot)))
			continue;
		probes[count] = (struct nb_probe){
			.protocol = protocol,
			.address = shot->address,
			.port = shot->port,
		};
		set_payload(station, shot, payloads, &probes[count]);
		of[count++] = i;
	}
	if (probes && of)
		r = count ? nb_probe_run(station->place, probes, count, timeout, &station->error)
			  : 0;
	for (size_t i = 0; r == 0 && i < count; i++) {
		struct nb_shot *shot = &station->shots[of[i]];

		shot->result = probes[i].result;
		shot->source_port = probes[i].source_port;
		shot->spoke = probes[i].spoke;
	}
	free(probes);
	free(of);
	return r;
}

static int compare_arrival(const void *key, const void *item)
{
	const struct nb_shot *shot = key;
	const struct nb_arrival *arrival = item;

	if (shot->protocol != arrival->protocol)
		return shot->protocol < arrival->protocol ? -1 : 1;
	return (shot->source_port > arrival->source_port) -
	       (shot->source_port < arrival->source_port);
}

/*
 * Where the packet of a shot came to. A container's own may have the same source port, to somewhere
 * else: then it is the one that came where the shot's should.
 */
static const struct nb_arrival *find_arrival(const struct nb_station *station,
					     const struct nb_shot *shot,
					     const struct nb_arrival *heard, size_t count)
{
	const struct nb_arrival *end = heard + count,
				*first = bsearch(shot, heard, count, sizeof(*heard),
						 compare_arrival);
	const struct nb_target *target;

	if (!first || shot->mapping == NB_NO_MAPPING)
		return first;
	target = &nb_verify_mapping(station->verify, shot->mapping)->mapping.target;
	while (first > heard && compare_arrival(shot, first - 1) == 0)
		first--;
	for (const struct nb_arrival *one = first; one < end && compare_arrival(shot, one) == 0;
	     one++)
		if (one->address == target->address && one->port == target->port)
			return one;
	return first;
}

/* Which of the shots came to this host's sockets? */
static int listen_for(struct nb_station *station, struct nb_shot **shots, size_t count)
{
	struct nb_arrival *heard;
	size_t heard_count;

	if (!nb_probe_heard(station->ear, &heard, &heard_count))
		return -ENOMEM;
	for (size_t i = 0; heard_count && i < count; i++) {
		const struct nb_arrival *arrival = find_arrival(station, shots[i], heard,
								heard_count);

		if (!arrival)
			continue;
		shots[i]->heard = true;
		shots[i]->heard_address = arrival->address;
		shots[i]->heard_port = arrival->port;
	}
	free(heard);
	return 0;
}

static int throw_some(struct nb_station *station, struct nb_shot **shots, size_t count)
{
	struct nb_raw_probe *probes = calloc(count + 1, sizeof(*probes));
	int r;

	if (!probes)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		probes[i] = (struct nb_raw_probe){
			.protocol = shots[i]->protocol,
			.address = shots[i]->address,
			.port = shots[i]->port,
		};
	r = nb_probe_raw(station->place, probes, count, RAW_MS, &station->error);
	for (size_t i = 0; r == 0 && i < count; i++) {
		shots[i]->result = probes[i].result;
		shots[i]->source_port = probes[i].source_port;
	}
	free(probes);
	return r < 0 ? r : listen_for(station, shots, count);
}

/*
 * What has to be closed is asked by frames of our own: thousands of them are one moment's wait, and
 * no service ever sees a connection.
 */
static int throw_all(struct nb_station *station, struct nb_shot **shots)
{
	size_t count = 0;
	int r = 0;

	for (size_t i = 0; i < station->count; i++)
		if (station->shots[i].from != NB_FROM_NETWORK)
			shots[count++] = &station->shots[i];
	for (size_t i = 0; r == 0 && i < count; i += RAW_MOST)
		r = throw_some(station, shots + i, count - i < RAW_MOST ? count - i : RAW_MOST);
	return r;
}

static int fire_from_inside(struct nb_station *station, bool again, struct nb_shot **shots)
{
	size_t count = 0;
	int r;

	for (size_t i = 0; i < station->count; i++)
		if (again ? is_unheard(&station->shots[i])
			  : station->shots[i].from == NB_FROM_NETWORK)
			shots[count++] = &station->shots[i];
	if (count == 0)
		return 0;
	r = dial(station, IPPROTO_TCP, CONNECT_MS, again);
	if (r == 0)
		r = dial(station, IPPROTO_UDP, DATAGRAM_MS, again);
	return r < 0 ? r : listen_for(station, shots, count);
}

void nb_station_fire(struct nb_station *station)
{
	struct nb_shot **shots = calloc(station->count + 1, sizeof(struct nb_shot *));
	int r;

	if (station->result < 0) {
		free(shots);
		return;
	}
	r = shots ? 0 : -ENOMEM;
	for (int attempt = 0; r == 0 && attempt < MOST_ATTEMPTS; attempt++)
		r = fire_from_inside(station, attempt > 0, shots);
	if (r == 0)
		r = throw_all(station, shots);
	if (r == -ENOMEM)
		nb_error_set(&station->error, NB_STATUS_FAILED, ENOMEM, "memory", "out of memory");
	station->result = r;
	free(shots);
}
