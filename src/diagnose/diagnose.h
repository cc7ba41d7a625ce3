/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the checks share. Each looks at one subject, in a file of its name. */
#ifndef NAT_BRIDGE_DIAGNOSE_INTERNAL_H
#define NAT_BRIDGE_DIAGNOSE_INTERNAL_H

#include "nat-bridge/diagnose.h"
#include "nat-bridge/route.h"

/* Find out who lives behind the bridges' ports, where no engine said it. */
void nb_find_owners(struct nb_diagnosis *diagnosis);
void nb_check_drift(struct nb_diagnosis *diagnosis);
void nb_check_host(struct nb_diagnosis *diagnosis);
void nb_check_bridges(struct nb_diagnosis *diagnosis);
/* Which address of the host containers dial, and whether the way there is through their bridge. */
void nb_check_ways(struct nb_diagnosis *diagnosis);
/*
 * May doctor advise to give the bridge of @one @network, which a container has chosen? Not if anything
 * else is there for the host, or if it is of the Internet: the host would lose it to the container.
 */
bool nb_may_have_network(struct nb_diagnosis *diagnosis, const struct nb_case *one,
			 const struct nb_prefix *network);
/*
 * The way from the network namespace of @pid to @address. False: it cannot be looked at. With @ret_end,
 * if not NULL, the host's end of the device that it goes through, or NULL.
 */
bool nb_find_way(struct nb_diagnosis *diagnosis, pid_t pid, uint32_t address,
		 struct nb_probe_way *ret, const struct nb_link **ret_end);
void nb_check_services(struct nb_diagnosis *diagnosis);
void nb_check_security(struct nb_diagnosis *diagnosis);
void nb_check_firewalls(struct nb_diagnosis *diagnosis);
void nb_check_routing(struct nb_diagnosis *diagnosis);
void nb_check_containers(struct nb_diagnosis *diagnosis);

/* Probe every case that can be, and trace those that fail. */
void nb_try_cases(struct nb_diagnosis *diagnosis);
/* Say of each service that hangs up on whoever comes that it does. */
void nb_judge_answers(struct nb_diagnosis *diagnosis);
/*
 * What can be read of the @count bytes that a service said, as one line: a head of control
 * characters, as of MySQL, is left out.
 */
void nb_read_said(const char *said, size_t count, char *text, size_t size);
/* What lets a Redis in protected mode take containers. */
extern const char nb_mend_redis[];
/*
 * @words, with the network of the container's bridge for a "%s" in them, or for a "%m", by which its
 * mask is written as an address. If that is not known, what says the same of any service.
 */
void nb_word_for_network(const struct nb_case *one, const char *words, char *buffer, size_t size);
/* Ask the services of the cases on the bridge of @first that are reached from @place. */
void nb_question_cases(struct nb_diagnosis *diagnosis, struct nb_probe_place *place,
		       const struct nb_case *first);
/* Say of each case that does not work where its packets ended. */
void nb_judge_cases(struct nb_diagnosis *diagnosis);

/* An IPv4 address in host byte order; @buffer, which is returned, has INET_ADDRSTRLEN bytes. */
const char *nb_word_address(uint32_t address, char *buffer);
/* Append to a text of @size bytes what there is room for. */
void nb_append_text(char *text, size_t size, const char *more);

/* Append a cause about the host, about the bridge of a case, or about the case itself. */
struct nb_cause *nb_blame_host(struct nb_diagnosis *diagnosis, const char *code);
struct nb_cause *nb_blame_bridge(struct nb_diagnosis *diagnosis, const struct nb_case *one,
				 const char *code);
struct nb_cause *nb_blame_case(struct nb_diagnosis *diagnosis, const struct nb_case *one,
			       const char *code);
void nb_cause_recode(struct nb_cause *cause, const char *code);
/* Is it about this case, its bridge, or the host? */
bool nb_cause_concerns(const struct nb_cause *cause, const struct nb_case *one);
/* Is there a cause of @code about this case, its bridge, or the host? */
bool nb_is_blamed(const struct nb_diagnosis *diagnosis, const struct nb_case *one,
		  const char *code);

/* Its mapping is in the kernel, or should be, and its bridge is there. */
bool nb_case_counts(const struct nb_case *one);
/* The first of the cases on its bridge? They are sorted by bridge. */
bool nb_case_is_first(const struct nb_diagnosis *diagnosis, size_t i);

/* A number from a file of /proc; false: it cannot be read. */
bool nb_read_number(const char *path, uint64_t *ret);
/* The first line of a file; false: it cannot be read, or is empty. */
bool nb_read_word(const char *path, char *buffer, size_t size);

/* What confines a process: an AppArmor profile, a SELinux context. False: nothing, as far as is known. */
bool nb_read_confinement(pid_t pid, char *buffer, size_t size);

/*
 * What sits on the way between the bridge and its ports: filters of traffic control, qdiscs that
 * drop, XDP programs, ports that do not forward. "" if nothing was found. @ret_code says which
 * code that is.
 */
struct nb_port_trouble {
	const char *code;
	char what[512];
	char mend[NB_CAUSE_TEXT];
};
/* Why nobody tells containers the bridge's hardware address, of which the ruleset does not know. */
bool nb_find_neighbour_trouble(struct nb_diagnosis *diagnosis, const struct nb_case *one,
			       struct nb_port_trouble *ret);

#define NB_CHAIN_NAME 256 /* the kernel's NFT_NAME_MAXLEN; of tables as well */

/* A base chain that drops by its policy, or in whose table a rule does. */
struct nb_dropping {
	uint8_t family;
	bool policy;   /* else it is the rule */
	uint32_t hook; /* of the base chain */
	/* whole: a name that was cut is that of another chain */
	char base_table[NB_CHAIN_NAME], base[NB_CHAIN_NAME];
	char table[NB_CHAIN_NAME], chain[NB_CHAIN_NAME]; /* of the rule */
	uint64_t handle;
};

/*
 * Find one in the network namespace of @nl, at one of @hooks (a bit each). It is read, and not
 * walked: by elimination alone it may be named. False: there is none, or nobody may see it.
 */
bool nb_find_dropping(struct nb_netlink *nl, uint8_t family, uint32_t hooks,
		      struct nb_dropping *ret);
/* "rule 4 of chain ip filter OUTPUT"; returns @buffer, which holds NB_DROPPING_TEXT bytes. */
#define NB_DROPPING_TEXT 288
const char *nb_dropping_text(const struct nb_dropping *dropping, char *buffer);
/* What the container's own firewall does to what it sends, or with @answers to what it is sent. */
bool nb_find_inside_trouble(const struct nb_case *one, bool answers, struct nb_port_trouble *ret);

/* At which end is looked first. */
enum nb_port_end { NB_END_OF_PORT, NB_END_OF_BRIDGE };
bool nb_find_port_trouble(struct nb_diagnosis *diagnosis, const struct nb_case *one,
			  enum nb_port_end first, struct nb_port_trouble *ret);
/*
 * Say that answers to @address do not go to the bridge, if that is so; of a container whose reverse path
 * is refused, that is then the mend.
 */
bool nb_blame_way_back(struct nb_diagnosis *diagnosis, const struct nb_case *one, uint32_t address);

#endif
