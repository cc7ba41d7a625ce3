/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the commands share: the command table, options, the run's context, reports. */
#ifndef NAT_BRIDGE_CLI_H
#define NAT_BRIDGE_CLI_H

#include <stdio.h>

#include "nat-bridge/engine.h"
#include "nat-bridge/firewall.h"
#include "nat-bridge/listen.h"
#include "nat-bridge/plan.h"
#include "nat-bridge/rules.h"
#include "recall.h"

#define NB_DEFAULT_RULES  "/etc/nat-bridge/rules.d"
#define NB_DEFAULT_CONFIG "/etc/nat-bridge/config.json"

#define NB_WORDS_MAX 32

/* What an option that may be repeated was given. */
struct nb_word_list {
	const char *items[NB_WORDS_MAX];
	size_t count;
};

/* Values of the options; the table in options.c says which command takes which. */
struct nb_options {
	bool json;
	bool dry_run;
	bool quiet;
	bool help;
	bool version;
	bool runtime;
	bool replace;
	bool force;
	bool external;
	bool strict;
	bool keep_going;
	bool all;
	bool all_networks;
	bool log_accounting;
	bool payload;
	bool rate;
	bool prometheus;
	bool fix;
	const char *report; /* where `doctor` writes one, NULL: nowhere */
	const char *log;    /* where `watch` writes what connects, NULL: nowhere */
	struct nb_word_list except;
	int64_t duration; /* seconds of --for, 0 = for ever */
	int64_t wait;	  /* seconds to wait for the lock */
	const char *rules;
	const char *config;
};

struct nb_command;

/* What a run has changed in the kernel. */
struct nb_difference {
	struct nb_element_list added;	/* mappings that are new, or have another life; sorted */
	struct nb_mapping_list removed; /* as far as the kernel knows what they were of */
	char restored[400];		/* "table inet nat-bridge, the opener in ...", or "" */
	size_t restored_more;		/* for which there was no room */
};

/* The context of one run. */
struct nb_run {
	const struct nb_command *command; /* NULL: none was given */
	struct nb_options options;
	char **words; /* behind the command word */
	size_t word_count;
	struct nb_config config;
	struct nb_netlink *nl;
	struct nb_rules rules;
	/* what engines said; each is asked when it is first needed, and once */
	struct nb_engine_answer engines[NB_ENGINE_COUNT];
	bool asked[NB_ENGINE_COUNT];
	struct nb_asked_container *containers; /* and of containers */
	size_t container_count;
	uint32_t asked_at; /* generation before nb_ask_ahead() asked them; 0: it has not */
	/* what they said before, for when they do not answer, or with @recall_only are not asked; or
	 * NULL. Borrowed. */
	const struct nb_recall *recall;
	bool recall_only;
	struct nb_engine_published_list published[NB_ENGINE_COUNT]; /* likewise */
	bool asked_published[NB_ENGINE_COUNT];
	struct nb_warnings warnings;
	struct nb_error error;
	struct nb_difference difference;
	bool changed; /* a failure left the kernel changed */
	bool stream;  /* JSON comes as one line for each object */
	bool believe; /* a filter that could not be attached is not tried again */
	int lock;
	int rules_lock;
};

/* One row of the command table: feeds dispatch, help, completions and the man page's test. */
struct nb_command {
	const char *name;
	const char *aliases[3];
	const char *synopsis;
	const char *summary;
	const char *description;
	bool hidden; /* for shells alone: not in the help */
	/* what its JSON says of a failure: this is false ("changed": as it was), these are empty */
	const char *truth;
	const char *lists[4];		/* ends with NULL */
	int (*run)(struct nb_run *run); /* returns an enum nb_status */
};

extern const struct nb_command nb_commands[];
extern const size_t nb_command_count;
const struct nb_command *nb_command_find(const char *name);

int nb_command_add(struct nb_run *run);
int nb_command_remove(struct nb_run *run);
int nb_command_list(struct nb_run *run);
int nb_command_apply(struct nb_run *run);
int nb_command_check(struct nb_run *run);
int nb_command_flush(struct nb_run *run);
int nb_command_complete(struct nb_run *run);
int nb_command_status(struct nb_run *run);
int nb_command_verify(struct nb_run *run);
int nb_command_watch(struct nb_run *run);
int nb_command_doctor(struct nb_run *run);

/*
 * Sort argv into command, words and options. Returns 0 or fills run->error
 * (status NB_STATUS_USAGE). run->words points into @argv, which is reordered.
 */
int nb_options_parse(struct nb_run *run, int argc, char **argv);

/* An option, as the table has it. */
struct nb_option_info {
	const char *name;     /* without the dashes */
	char letter;	      /* 0: none */
	const char *argument; /* NULL: takes none */
	bool repeats;
	bool optional; /* the argument may be left out */
	const char *help;
};

extern const size_t nb_option_count;
/* The option in row @i; false if @command (NULL: any) does not take it. */
bool nb_option_get(size_t i, const struct nb_command *command, struct nb_option_info *ret);
void nb_options_print_help(const struct nb_command *command, FILE *out);

/*
 * The path of a file in /run/nat-bridge that belongs to this network namespace: its inode and
 * @suffix. False: /proc cannot be read.
 */
bool nb_runtime_path(char *path, size_t size, const char *suffix);
/* A number that no other network namespace of this boot has; false before Linux 5.14. */
bool nb_netns_cookie(uint64_t *ret);

/*
 * `flush` holds until `apply`, also where a watcher runs. A mark in /run/nat-bridge says so; one
 * of another namespace, whose inode this one got, does not count.
 */
void nb_flushed_set(struct nb_run *run);
void nb_flushed_clear(void);
bool nb_flushed(void);

/*
 * That a kernel lacks the classifier shows when a filter is attached, and in no other way. So it
 * is kept in /run/nat-bridge: @why, or "" where one could be attached.
 */
void nb_unfiltered_note(const char *why);
bool nb_unfiltered(char *ret_why, size_t size);

/* Take the lock for writers; fills run->error. Released by nb_run_finish() or exit. */
int nb_lock_take(struct nb_run *run);
/* The same for rule files: that lock is of one network namespace, and they may be of several. */
int nb_lock_rules(struct nb_run *run);
/*
 * One watcher in a network namespace. Returns a descriptor: who has it, or a copy of it, holds the
 * lock.
 */
int nb_lock_watch(struct nb_run *run);

/* Read the configuration and open netlink; for writers also lock. */
int nb_run_prepare(struct nb_run *run, bool writer);
/*
 * Read the rule files; a directory that cannot be trusted is a failure. A writer locks the
 * directory and clears away what a killed command staged there.
 */
int nb_run_read_rules(struct nb_run *run);
/* The same where only these ports matter. */
int nb_run_read_rules_about(struct nb_run *run, const struct nb_port_spec *specs, size_t count);
/*
 * Clear away staged files, and with @gone those of unfinished removals, whose end is reached.
 * Returns how many.
 */
int nb_run_tidy_rules(struct nb_run *run, bool gone);
void nb_run_finish(struct nb_run *run);

/* One mapping in a report. Strings are borrowed. */
struct nb_row {
	const struct nb_mapping *mapping;
	const char *bridge; /* NULL: none now */
	const char *origin; /* "file", "runtime", "kernel" */
	const char *file;   /* base name or NULL */
	const char *state;  /* "active", "pending", ... or NULL: not visible */
	bool counted;
	uint64_t connections;
	uint64_t packets;
	uint64_t bytes;
};

struct nb_row_list {
	struct nb_row *items;
	size_t count;
	size_t capacity;
};

int nb_row_append(struct nb_row_list *list, const struct nb_row *row);

/* What a change did. */
struct nb_report {
	bool changed;
	struct nb_row_list mappings;
	struct nb_row_list pending;
	struct nb_row_list removed; /* what `apply` took out because nothing asks for it */
	bool ended;		    /* a removal that was not finished is now */
	const char *verb;	    /* "added", "removed", ... for the text */
	const char *unchanged;	    /* said when nothing changed */
	char *script;		    /* of a dry run; owned */
};

void nb_report_clear(struct nb_report *report);

/* To standard error. */
void nb_print_warnings(const struct nb_run *run);
void nb_print_error(const struct nb_error *error);
/* Each returns @buffer: 1234567 -> "1.2M"; 93 s -> "1m33s", the two largest units. */
const char *nb_format_bytes(uint64_t bytes, char *buffer, size_t size);
const char *nb_format_left(int64_t seconds, char *buffer, size_t size);

/* Print and return the exit status. Each prints the warnings, too. */
int nb_print_failure(struct nb_run *run);
int nb_print_version(struct nb_run *run, const char *version);
int nb_print_help(struct nb_run *run);
int nb_print_change(struct nb_run *run, const struct nb_report *report, enum nb_status status);
/* What is said where there is nothing to show. */
const char *nb_no_mappings(const struct nb_run *run);
/* With a status other than OK run->error says why, beside what could be listed. */
int nb_print_list(struct nb_run *run, const struct nb_row_list *rows, enum nb_status status);
/* How the kernel differs from what the rule files say. */
struct nb_findings {
	struct nb_finding *items;
	size_t count;
};

/*
 * Find what `check` finds, once the rule files are read; it also warns of the guard, of firewalls
 * and of what is pending. Fills run->error on failure. @ret is zeroed first.
 */
struct nb_wanted;
int nb_check_find(struct nb_run *run, struct nb_wanted *wanted, struct nb_findings *ret);
/* The same of a @state that was read already, with none of these warnings: they are the caller's. */
int nb_check_state(struct nb_run *run, struct nb_wanted *wanted, struct nb_state *state,
		   struct nb_findings *ret);
void nb_findings_clear(struct nb_findings *findings);
int nb_print_check(struct nb_run *run, const struct nb_findings *findings, enum nb_status status);
/* Add what @plan, made for @state and carried out, has changed to run->difference. */
void nb_difference_note(struct nb_run *run, const struct nb_plan *plan,
			const struct nb_state *state);
/* Is that mapping among those that were added? */
bool nb_difference_has(const struct nb_difference *difference, const struct nb_row *row);
void nb_difference_clear(struct nb_difference *difference);

/* Tell the system's log what was changed, and by whom; of a failure what it left half done. */
void nb_journal_change(const struct nb_run *run, const struct nb_report *report);
void nb_journal_failure(const struct nb_run *run);
/* A word of a process that stays. */
void nb_print_note(const struct nb_run *run, const char *text);
/* Was everything written? A full disk or a closed pipe is a failure. */
int nb_print_flush(int status);

/*
 * A change of the kernel as a goal: @build fills the desired state for the
 * state that was read; nb_transact() reads, plans, carries out, retries on conflict for
 * five seconds at most, and undoes a failure unless the goal only goes forward.
 */
struct nb_goal {
	int (*build)(struct nb_run *run, const struct nb_state *state, struct nb_desired *desired,
		     void *data);
	void *data;
	/* Called when the kernel has it, before signals are let in again; a failure undoes. */
	int (*commit)(struct nb_run *run, void *data);
	/* What to ask for; NULL, or pointing to NULL: everything; else sorted. @build may widen it and
	 * return -EAGAIN. */
	const struct nb_element_list *const *keys;
	unsigned int read_flags;
	bool forward_only;
};

/*
 * Fills run->error on failure and returns -errno. In a dry run nothing is
 * changed, *@ret_script (if not NULL) gets the script, and outcome->changed
 * says whether there would be a change.
 */
int nb_transact(struct nb_run *run, const struct nb_goal *goal, struct nb_outcome *outcome,
		char **ret_script);

/* What an engine says of its networks. NULL: out of memory. Borrowed from the run. */
const struct nb_engine_answer *nb_ask_engine(struct nb_run *run, enum nb_engine engine);

/*
 * Ask the engines what @recall is about, without the lock, so that nobody waits for an engine that
 * hangs; the run, which is not prepared yet, then has the answers. What goes wrong is found
 * again when it is asked for. -ENOMEM.
 */
int nb_ask_ahead(struct nb_run *run, const struct nb_recall *recall);

/*
 * With the lock: if the ruleset has changed since nb_ask_ahead() asked, another nat-bridge may have
 * learnt more meanwhile, so that who has answered is asked again. Who has not is not waited for twice.
 */
int nb_ask_recheck(struct nb_run *run);

/* What they said may be true no longer: the next question is asked again. */
void nb_forget_engines(struct nb_run *run);

/* nb_engine_ask_endpoints(), where the engine is said to be. */
int nb_ask_endpoints(struct nb_run *run, enum nb_engine engine, const char *network,
		     struct nb_engine_endpoints *ret);

/*
 * The engine's network that @bridge is. To ask may start an engine that sleeps: without
 * @any_name only one that makes bridges of such a name is asked.
 */
bool nb_ask_bridge(struct nb_run *run, const char *bridge, bool any_name, struct nb_network *ret);

/* nb_engine_listen(), where the engine is said to be. */
int nb_listen_engine(struct nb_run *run, enum nb_engine engine);

/*
 * The same of a container; an engine whose networks are not known is not asked again. @ret is a
 * copy, to be freed with nb_engine_container_clear(). -ENOMEM.
 */
int nb_ask_container(struct nb_run *run, enum nb_engine engine, const char *name,
		     struct nb_engine_container *ret);

/* nb_engine_find_other(), where the engine is said to be. */
void nb_ask_other(struct nb_run *run, enum nb_engine engine, struct nb_engine_other *ret);

/* nb_engine_find_nearest(), of an engine that has answered already. */
int nb_ask_nearest(struct nb_run *run, enum nb_engine engine, const char *name, char *ret_name);

/*
 * The container that publishes a port of the host, of an engine that has answered already;
 * borrowed from the run. NULL: none. -ENOMEM.
 */
int nb_ask_publisher(struct nb_run *run, enum nb_engine engine, uint8_t protocol, uint16_t port,
		     const char **ret_name);

/* A bridge that a network is. */
struct nb_resolved {
	char bridge[NB_IFNAME_SIZE];
	bool present; /* the device exists */
	int ifindex;  /* then; otherwise 0 */
};

/* What a stored network means now. */
struct nb_resolution {
	struct nb_resolved *items; /* sorted; none: it is not known, or has no bridge here */
	size_t count;
	size_t present;		 /* how many of them exist */
	char why[NB_ENGINE_WHY]; /* none is present: a clause that says why */
	bool hopeless;		 /* ... and waiting will not change that: why says what will */
	bool silent;		 /* no engine said it: it is what it was */
};

/*
 * Resolves networks against one state. It keeps the last answer, because
 * files name the same network again and again.
 */
struct nb_resolver {
	struct nb_run *run;
	const struct nb_link_list *links;
	/* guards and the networks that they are for: what is known when an engine is silent; or
	 * NULL */
	const struct nb_bridge_list *bridges;
	/* NULL, or a NETWORK: that the engine of another one is silent is not told */
	const char *about;
	struct nb_network network;
	char *except;
	struct nb_resolution resolution;
	bool valid;
	bool unknown; /* a network was asked for of which run->recall, which alone counts, knows nothing */
};

/*
 * The bridges of the mapping's network, of which a pattern or a container has several.
 * Borrowed from the resolver until the next call. NULL: out of memory.
 */
const struct nb_resolution *nb_resolve(struct nb_resolver *resolver,
				       const struct nb_mapping *mapping);
void nb_resolver_clear(struct nb_resolver *resolver);
bool nb_resolution_has(const struct nb_resolution *resolution, const char *bridge);

/*
 * May this bridge carry the mapping? Fills run->error (status FAILED) if not; its cure depends
 * on the network, and is put behind it by nb_word_external().
 */
int nb_resolve_allowed(struct nb_run *run, const struct nb_link_list *links, const char *bridge,
		       bool external);
void nb_word_external(struct nb_run *run, const struct nb_network *network, const char *bridge);
/* Is NETWORK well formed? What it means is a later question. */
int nb_resolve_check_word(struct nb_run *run, const char *word);
/* NETWORK as it stands on the command line of `add`. */
int nb_resolve_word(struct nb_run *run, const char *word, const struct nb_link_list *links,
		    struct nb_network *ret);

/*
 * PORT words -> specs, sorted by port and protocol, none twice; presets are expanded.
 * *@ret is allocated.
 */
int nb_words_to_specs(struct nb_run *run, char **words, size_t count, struct nb_port_spec **ret,
		      size_t *ret_count);
/* What a spec of @network means. The caller sets the rest. */
struct nb_mapping nb_spec_to_mapping(const struct nb_port_spec *spec,
				     const struct nb_network *network);

/*
 * Everything that is stored somewhere: mappings of rule files, and those that
 * are in the kernel alone, with what is known of each.
 */
struct nb_stored {
	struct nb_mapping mapping; /* comment borrowed from the rules */
	const char *origin;	   /* "file", "runtime", "kernel" */
	const char *state; /* "active", "pending", "drift", "expired", "disabled", or NULL */
	char bridge[NB_IFNAME_SIZE];	   /* what the network resolves to, "" = nothing */
	const struct nb_link *link;	   /* the bridge's device, NULL = absent */
	const struct nb_element *accepted; /* what the kernel has of it, or NULL */
	bool owns_key; /* what the kernel has of the key is there for this one */
};

struct nb_inventory {
	struct nb_stored *items; /* sorted by network, protocol, port */
	size_t count;
};

/*
 * @state NULL: the kernel's ruleset is not visible. @about is for struct nb_resolver. Borrows from
 * rules, state and links.
 */
int nb_inventory_make(struct nb_run *run, const struct nb_state *state,
		      const struct nb_link_list *links, const char *about,
		      struct nb_inventory *ret);
void nb_inventory_clear(struct nb_inventory *inventory);
/* What an element of the kernel is a mapping of, as far as comments tell; without its life. */
struct nb_mapping nb_element_to_mapping(const struct nb_element *element,
					const struct nb_bridge_list *bridges);
/* The element that the mapping is in the kernel, or would be; without its life and counts. */
struct nb_element nb_stored_key(const struct nb_stored *stored);
/*
 * The stored network that a word means, with or without its prefix.
 * Returns 1, 0 if nothing is stored under that name, or -errno.
 */
int nb_inventory_find_network(struct nb_run *run, const struct nb_inventory *inventory,
			      const char *word, struct nb_network *ret);
/* Nothing is there under that name: no failure, but the nearest is named. */
int nb_inventory_warn_absent(struct nb_run *run, const struct nb_inventory *inventory,
			     const char *word);
/* The same where it is a failure: fills run->error. */
int nb_inventory_refuse_absent(struct nb_run *run, const struct nb_inventory *inventory,
			       const char *word);

/* Warn of what will bite a container that uses these mappings, of one network; changes nothing. */
void nb_advise(struct nb_run *run, const struct nb_mapping_list *mappings);

/* Who listens on this host, on whatever port. */
struct nb_host_listeners {
	struct nb_listener_list tcp, udp;
	bool tcp_known, udp_known; /* sock_diag told */
};

void nb_host_listeners_read(struct nb_run *run, struct nb_host_listeners *ret);
/* Those on a port of @protocol, a part of @host; false: not known. */
bool nb_host_listeners_on(const struct nb_host_listeners *host, uint8_t protocol, uint16_t port,
			  struct nb_listener_list *ret);
void nb_host_listeners_clear(struct nb_host_listeners *host);

/* The parts of nb_advise(): of the host, of a network, of a mapping. */
void nb_advise_host(struct nb_run *run);
void nb_advise_network(struct nb_run *run, const struct nb_mapping *mapping);
void nb_advise_mapping(struct nb_run *run, const struct nb_host_listeners *host,
		       const struct nb_mapping *mapping);

/*
 * nb_state_probe_ingress(), and what an earlier attempt has found: who only reads believes that, and
 * so does a run that is told to. The others try again.
 */
int nb_probe_ingress(struct nb_run *run, const struct nb_bridge_list *bridges,
		     struct nb_state *state);

/* Say where the guard in nf_tables is the only one that works, or may be. */
void nb_warn_ingress(struct nb_run *run, const struct nb_bridge_list *bridges,
		     const struct nb_state *state);

/*
 * Warn of what the host's firewalls do to these mappings (sorted by bridge) where no opener
 * helps. Advice alone: what cannot be read is left out.
 */
void nb_advise_firewalls(struct nb_run *run, const struct nb_element_list *mappings,
			 const struct nb_link_list *links);

/*
 * Which firewalls are there, and does each let these mappings (sorted by bridge) through? Warns of
 * the same as nb_advise_firewalls(), from one reading. @ret is to be zeroed; free with
 * nb_firewall_list_clear(). False: it is not known.
 */
bool nb_survey_firewalls(struct nb_run *run, const struct nb_element_list *mappings,
			 const struct nb_link_list *links, struct nb_firewall_list *ret);

bool nb_mapping_is_expired(const struct nb_mapping *mapping);
/* Enabled, and not over: it asks for something in the kernel. */
bool nb_mapping_is_in_force(const struct nb_mapping *mapping);

/* Say in run->error (its message stands) where the mapping of a rule file is. */
void nb_error_at(struct nb_run *run, const struct nb_mapping *mapping);
/* "FILE:LINE" of a rule file's mapping; returns @buffer, which holds NB_PLACE_SIZE bytes. */
#define NB_PLACE_SIZE 224
const char *nb_mapping_place(const struct nb_run *run, const struct nb_mapping *mapping,
			     char *buffer);
/*
 * What other networks than @mapping's ask of the same key on this bridge, by the rule files:
 * it goes to @desired beside it. Fails (status FAILED) if the two do not go together.
 */
int nb_share_bridge(struct nb_resolver *resolver, const struct nb_resolved *on,
		    const struct nb_mapping *mapping, struct nb_desired *desired);
int nb_out_of_memory(struct nb_run *run);
/* Warn of an invalid file: "FILE:LINE: message", and what follows from it. */
void nb_warn_invalid(struct nb_run *run, const struct nb_rule_file *file, const char *so);
/* Warn of each invalid file; fail with its error if it may hold one of the keys. */
int nb_warn_invalid_files(struct nb_run *run, const struct nb_network *network,
			  const struct nb_port_spec *specs, size_t count);

#endif
