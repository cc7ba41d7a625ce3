/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Why a mapping does not work: what is wrong with the host, read and tried, as values.
 *
 * Causes are found by checks, each about one subject (src/diagnose). A check only says what it
 * sees; which of it is to blame is decided at the end, by what the probe met.
 */
#ifndef NAT_BRIDGE_DIAGNOSE_H
#define NAT_BRIDGE_DIAGNOSE_H

#include "nat-bridge/firewall.h"
#include "nat-bridge/listen.h"
#include "nat-bridge/plan.h"
#include "nat-bridge/probe.h"
#include "nat-bridge/ruleset.h"
#include "nat-bridge/trace.h"

#define NB_CAUSE_TEXT 1024
#define NB_SAID_SIZE  256

enum nb_severity { NB_PROBLEM, NB_WARNING };

/* What a cause claims to do to packets; what is proven stays a claim no longer. */
enum nb_claim {
	NB_CLAIMS_NOTHING, /* it is wrong, whether or not packets get through */
	NB_CLAIMS_TO_STOP, /* it keeps packets away: not true if the probe succeeds */
	NB_CLAIMS_MAYBE,   /* some packets: forgotten if the probe succeeds */
};

struct nb_cause {
	const char *code; /* a stable word, see nb_codes */
	const char *why;  /* why it matters: one sentence */
	enum nb_severity severity;
	enum nb_claim claim;
	bool proven;		       /* a probe was seen to end there */
	char network[NB_NETWORK_SIZE]; /* "": it is about the host */
	char bridge[NB_IFNAME_SIZE];
	uint16_t port; /* 0: about the network */
	uint8_t protocol;
	/* the rule of a firewall, or the like, that does this to every port it concerns; "": none */
	char doer[NB_OBSTACLE_WHERE];
	char what[NB_CAUSE_TEXT];
	char evidence[NB_CAUSE_TEXT];
	char mend[NB_CAUSE_TEXT]; /* a command, or what to do; "" = nothing is known */
	bool ours;		  /* the command is ours alone to run */
	bool fixed;
};

/* Codes with their rank: of two causes the one with the lower number is named first. */
struct nb_code {
	const char *code;
	int rank;
	const char *why;
};
extern const struct nb_code nb_codes[];
extern const size_t nb_code_count;

struct nb_cause_list {
	struct nb_cause *items;
	size_t count;
	size_t capacity;
};

/*
 * Append a cause of @code, a problem that claims nothing. Valid until the next; NULL: out of memory,
 * which nb_diagnose() reports.
 */
struct nb_cause *nb_cause_add(struct nb_cause_list *list, const char *code);
/*
 * Problems before warnings, what is proven first, then by rank, and last what is fixed; what is said
 * twice is said once.
 */
void nb_cause_list_sort(struct nb_cause_list *list);
/*
 * Of a sorted list: what the same doer does to several ports of a network becomes one cause, that of
 * the first of them, whose words name the others, and whose mend is for all that there is room for.
 * False: no memory.
 */
bool nb_cause_list_gather(struct nb_cause_list *list);
void nb_cause_list_clear(struct nb_cause_list *list);

/* A mapping on one bridge that is looked at, and what the probe met. */
struct nb_case {
	const struct nb_mapping *mapping;
	char bridge[NB_IFNAME_SIZE];
	const struct nb_link *link; /* of the bridge; NULL: there is no such device */
	bool in_force;		    /* it asks for something in the kernel now */
	/* a container on it, in whose network the probe is made; 0: in one of our own */
	pid_t pid;
	int port; /* index of the bridge's port behind which it is; 0: not known */
	char container[NB_NETWORK_NAME_SIZE];
	uint32_t container_address; /* 0: not known */
	/* results */
	uint32_t address; /* of the host, that a container there dials; 0: the bridge has none */
	unsigned int prefix_length; /* of the network of that; 0: not known */
	char program[16];	    /* that listens on the target; "": not known */
	pid_t program_pid;	    /* 0: nobody listens, or it is not known who */
	bool has_uid;
	uint32_t uid;	    /* whose the socket is that listens on the target, if it is known */
	bool takes_nothing; /* it is known of who listens that it takes no connection */
	bool tried;
	char from[NB_NETWORK_NAME_SIZE + 16]; /* "container web", "a place of our own" */
	enum nb_probe_result result;
	char said[NB_SAID_SIZE]; /* what the service said by itself, as it came */
	size_t said_length;
	bool closed;	     /* it hung up by itself */
	enum nb_taken taken; /* of a connection that stood until the probe's patience was over */
	bool traced;
	struct nb_trace_flow flow;
	uint64_t blocked; /* what IPsec blocked on the host meanwhile */
	char rule[256];	  /* the text of the rule that dropped it; "" = a policy, or none did */
};

/* A container on a bridge that is looked at. */
struct nb_inhabitant {
	pid_t pid;
	uint32_t address; /* on that bridge, host byte order */
	uint32_t
		dials; /* a result: the bridge's address that it takes for the host's; 0: not known */
	unsigned int dials_length; /* of the network of that; 0: not known */
	char bridge[NB_IFNAME_SIZE];
	char name[NB_NETWORK_NAME_SIZE];
};

struct nb_diagnosis {
	struct nb_netlink *nl;
	uint32_t mark;
	const struct nb_state *state; /* NULL: this user may not see the ruleset */
	const struct nb_link_list *links;
	const struct nb_finding *drift; /* as `check` finds it */
	size_t drift_count;
	struct nb_case *cases; /* sorted by bridge */
	size_t case_count;
	struct nb_inhabitant *inhabitants; /* that engines told of; no more than are looked at */
	size_t inhabitant_count;
	bool may_probe;
	bool payload; /* services are asked something, too */
	struct nb_cause_list causes;
	struct nb_warnings *warnings;
	/* a result: net.ipv4.ip_forward is 0, as people suspect it to be; nothing here is forwarded */
	bool no_forwarding;
	bool no_memory;
};

/*
 * Run all checks and the probes, and judge. diagnosis->causes, to which the caller may have added
 * what he found himself, is sorted. Returns 0 or -ENOMEM.
 */
int nb_diagnose(struct nb_diagnosis *diagnosis);

/* "connected", "refused", "timed out", "unreachable", "sent", "answered", "failed" */
const char *nb_probe_word(enum nb_probe_result result);
/* The same of a case, with what its connection lacks. */
const char *nb_case_word(const struct nb_case *one);
/* Its packets; the bridge is there. */
struct nb_flow_path nb_case_path(const struct nb_case *one);
/* Does the case work, as far as a probe can tell? */
bool nb_case_works(const struct nb_case *one);

#endif
