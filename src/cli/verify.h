/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the parts of `verify` share: stations, shots, checks. */
#ifndef NAT_BRIDGE_VERIFY_H
#define NAT_BRIDGE_VERIFY_H

#include "nat-bridge/probe.h"
#include "nat-bridge/route.h"
#include "view.h"

/* From where, as the JSON says it. */
enum nb_verify_from {
	NB_FROM_NETWORK, /* the mapping's own */
	NB_FROM_OTHER,	 /* another bridge of this host */
	NB_FROM_LAN,	 /* a network that is none of its bridges */
	NB_FROM_RAW,	 /* frames to 127.0.0.0/8, from any of these */
	NB_FROM_GUARD,	 /* nothing was sent: the guard was read */
	NB_FROM_COUNT,
};

const char *nb_verify_from_name(enum nb_verify_from from);

#define NB_NO_MAPPING SIZE_MAX

/* One packet, or connection, and what became of it. */
struct nb_shot {
	enum nb_verify_from from;
	size_t mapping; /* in verify->mappings; NB_NO_MAPPING: a port that is not mapped */
	uint8_t protocol;
	uint32_t address;
	uint16_t port;
	uint16_t source_port;
	enum nb_probe_result result;
	bool spoke;
	bool heard; /* it came to this host's sockets, there: */
	uint32_t heard_address;
	uint16_t heard_port;
};

struct nb_verify;

#define NB_CONTAINER_NAME 80 /* what is longer is cut */

/* A place from which we send. */
struct nb_station {
	const struct nb_verify *verify;
	char bridge[NB_IFNAME_SIZE];	   /* "": it stands for the LAN */
	const struct nb_link *link;	   /* of it */
	pid_t pid;			   /* of a process in a container; 0: a place of our own */
	char container[NB_CONTAINER_NAME]; /* whose network that is, once it is entered */
	/* who is on the bridge; of a container those of the place beside it, or none */
	struct nb_engine_endpoints endpoints;
	const struct nb_engine_endpoints *neighbours;
	struct nb_netlink *nl;
	struct nb_probe_place *place;
	struct nb_probe_ear *ear;
	struct nb_shot *shots;
	size_t count, capacity;
	int result; /* negative errno, with error filled */
	struct nb_error error;
};

/* Parts of src/cli/verify_station.c that run in a thread each; they fill result and error. */
void nb_station_open(struct nb_station *station);
void nb_station_fire(struct nb_station *station);
void nb_station_close(struct nb_station *station);

/* Where nothing, or not everything, is sent from. */
struct nb_verify_skip {
	char device[NB_IFNAME_SIZE];
	char why[200];
};

/* One row of the answer. */
struct nb_check {
	enum nb_verify_from from;
	size_t mapping;
	char bridge[NB_IFNAME_SIZE]; /* of a guard */
	char via[NB_IFNAME_SIZE];    /* the bridge that was sent from, or "lan" */
	const char *container;	     /* ... or a container on it; NULL: none */
	uint8_t protocol;	     /* 0: of a guard */
	uint16_t port;
	char to[32];
	bool reach; /* expected: reached; otherwise closed */
	bool ok;
	char seen[64];
	char why[320]; /* "": it needs no word */
};

struct nb_verify {
	struct nb_run *run;
	struct nb_view view;
	struct nb_state dnats; /* somebody's DNAT to 127.0.0.0/8 */
	size_t *mappings;      /* items of the inventory that are in force */
	size_t mapping_count;
	struct nb_station *stations;
	size_t station_count;
	/* the host's own, those of bridges with mappings first; and how many are dialled */
	struct nb_address_list addresses;
	size_t dialled;
	struct nb_verify_skip *skipped;
	size_t skipped_count;
	struct nb_host_listeners listeners;
	int sockets[2]; /* our own on 127.0.0.1: TCP, UDP */
	uint16_t ports[2];
	struct nb_check *checks;
	size_t count, capacity;
	size_t bad;
};

const struct nb_stored *nb_verify_mapping(const struct nb_verify *verify, size_t i);
/* Is a mapping that is checked on that bridge? */
bool nb_verify_is_mapped(const struct nb_verify *verify, const char *bridge);
/* The place of our own on that bridge; "": the LAN's. NULL: there is none. */
const struct nb_station *nb_verify_station(const struct nb_verify *verify, const char *bridge);

/* Choose the stations, and the addresses that are dialled. Fills run->error on failure. */
int nb_verify_choose(struct nb_verify *verify);
/* Fill the shots of each station that is open. Likewise. */
int nb_verify_aim(struct nb_verify *verify);
/* Note that something is not sent from @device. Likewise. */
int nb_verify_skip(struct nb_verify *verify, const char *device, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Shots -> checks, and the guards. -ENOMEM. */
int nb_verify_judge(struct nb_verify *verify);
/* Print it all and return the exit status. */
int nb_verify_print(struct nb_verify *verify);

#endif
