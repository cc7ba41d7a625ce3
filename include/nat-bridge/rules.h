/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Rule files: JSON <-> mappings, and the order of file operations that makes
 * a killed command harmless. Presets: the services that can be named instead
 * of a port.
 */
#ifndef NAT_BRIDGE_RULES_H
#define NAT_BRIDGE_RULES_H

#include "nat-bridge/mapping.h"

struct nb_rule_file {
	char *name;		/* base name, "iface.br0-80-tcp.json" */
	bool valid;		/* false: error is set, and none of its mappings is in the list */
	struct nb_error *error; /* of an invalid file: file, line and key filled; else NULL */
	size_t mappings;	/* how many mappings of the list came from it */
	char *schema;		/* its "$schema", or NULL */
};

/* One reading of a rules directory. */
struct nb_rules {
	char *directory;
	bool present; /* the directory exists */
	struct nb_rule_file *files;
	size_t file_count;
	struct nb_mapping_list mappings; /* of valid files, sorted by key, no key twice */
	struct nb_mapping_list repeated; /* merged away, by key: their files hold them, too */
	char **unfinished;		 /* base names NAME of ".NAME.gone": killed removals */
	size_t unfinished_count;
	struct nb_mapping_list gone; /* what these files held, as far as they can be read */
};

/*
 * Read every *.json of @directory (by name order). An invalid file is
 * recorded in its nb_rule_file and is no failure of this function; neither is
 * a missing directory. Fails when the directory cannot be trusted or read:
 * not owned by root or the caller, or writable by group or others.
 * The same mapping twice merges with a warning; one key with two targets
 * makes the later file invalid. @ret is zeroed first; free with nb_rules_clear().
 */
int nb_rules_read(const char *directory, struct nb_rules *ret, struct nb_warnings *warnings,
		  struct nb_error *err);
void nb_rules_clear(struct nb_rules *rules);

/*
 * The same when only some ports matter: a file of NB_ABOUT_SIZE or more in
 * which none of their numbers occurs is left unread, and counts as valid. It cannot hold
 * one of those keys. More than NB_ABOUT_MAX ports: everything is read.
 */
struct nb_rules_about {
	const struct nb_port_spec *specs; /* only the ports are looked at */
	size_t count;
};

#define NB_ABOUT_SIZE (256 * 1024)
#define NB_ABOUT_MAX  8
int nb_rules_read_about(const char *directory, const struct nb_rules_about *about,
			struct nb_rules *ret, struct nb_warnings *warnings, struct nb_error *err);

/* First invalid file, or NULL. */
const struct nb_rule_file *nb_rules_invalid(const struct nb_rules *rules);

/*
 * What an invalid file might hold. It has no mappings that one could ask, so its text decides
 * (the network's name and the port's digits both occur in it), or its name (`add` made it for
 * the key). Keys are asked for quickest in the order of their networks.
 */
struct nb_mentions {
	const char *file; /* its base name; borrowed */
	bool anything;	  /* it cannot be read */
	bool forgotten;	  /* emptied, by a full disk or a crash: nothing tells what was in it */
	char *text;
	size_t length;
	uint8_t ports[8192];		    /* a bit for each number in it */
	char network[NB_NETWORK_NAME_SIZE]; /* searched for last, */
	bool searched;
	bool found; /* and with what result */
};

/* -ENOMEM on failure. @ret is zeroed first; free with nb_mentions_clear(). */
int nb_mentions_read(const struct nb_rules *rules, const struct nb_rule_file *file,
		     struct nb_mentions *ret);
/* Port 0 stands for any. */
bool nb_mentions_key(struct nb_mentions *mentions, const struct nb_network *network,
		     uint8_t protocol, uint16_t port);
void nb_mentions_clear(struct nb_mentions *mentions);

/* The same for one question, of either protocol. */
bool nb_rules_invalid_mentions(const struct nb_rules *rules, const struct nb_rule_file *file,
			       const struct nb_network *network, uint16_t port);

/* The mapping of this key, or NULL. */
const struct nb_mapping *nb_rules_find(const struct nb_rules *rules,
				       const struct nb_network *network, uint8_t protocol,
				       uint16_t port);

/*
 * A change of rule files in the design's order:
 *
 *   add:    nb_change_prepare() writes .NAME.new and fsyncs; the kernel is
 *           changed; nb_change_commit() renames. Killed before: nothing happened.
 *   remove: nb_change_prepare() keeps the old file as .NAME.gone and takes NAME
 *           away (or replaces it by one without the removed mappings); the kernel is
 *           changed; nb_change_commit() unlinks .NAME.gone.
 *
 * nb_change_abandon() restores what was there before nb_change_prepare().
 */
struct nb_change;

/* Both keep a reference to @rules until nb_change_free(). NULL: out of memory. */
struct nb_change *nb_change_new_add(const struct nb_rules *rules);
struct nb_change *nb_change_new_remove(const struct nb_rules *rules);
void nb_change_free(struct nb_change *change);

/*
 * Add or replace @mapping (by key). A key that a file already holds is
 * replaced in that file, whatever its name; a new one gets a file of its own.
 * Returns 1 if that changes a file, 0 if the file already says exactly this.
 */
int nb_change_put(struct nb_change *change, const struct nb_mapping *mapping, struct nb_error *err);
/* Take the key out of the file that holds it. 1 if one did, 0 if none. */
int nb_change_take(struct nb_change *change, const struct nb_mapping *mapping,
		   struct nb_error *err);

/*
 * prepare makes a missing directory (0755) for an add. Each says which file
 * and why: ENOSPC, EROFS, EACCES become sentences. After a failed prepare
 * nothing is left behind.
 */
int nb_change_prepare(struct nb_change *change, struct nb_error *err);
int nb_change_commit(struct nb_change *change, struct nb_error *err);
int nb_change_abandon(struct nb_change *change, struct nb_error *err);
/*
 * Did a commit of a removal that failed take some of it away for good? Then it is not to be
 * abandoned: what is left of it is an unfinished removal. NULL: no.
 */
bool nb_change_is_begun(const struct nb_change *change);

/*
 * The base name of the file that holds (or will hold) the key, or NULL if
 * neither the rules nor the change know it. Owned by the change.
 */
const char *nb_change_file_of(const struct nb_change *change, const struct nb_mapping *mapping);

/*
 * The base name of the file that an add of this key makes, "<engine>.<network,
 * other characters as %XX>-<port>-<protocol>.json"; free it. NULL: out of memory.
 */
char *nb_rules_file_name(const struct nb_mapping *mapping);

/* Delete .NAME.new and, when @gone, .NAME.gone files. Returns how many, or -errno. */
int nb_rules_tidy(const char *directory, bool gone, struct nb_error *err);

/* A service by name: "ollama" -> 11434/tcp. Built into the program from rules/presets. */
struct nb_preset_port {
	uint16_t port;
	uint8_t protocol;
};

#define NB_PRESET_PORTS	  4
#define NB_PRESET_ALIASES 3
struct nb_preset {
	const char *name;
	const char *aliases[NB_PRESET_ALIASES]; /* other names, then NULL if there is room */
	const char *title;			/* "Ollama" */
	const char *note;			/* what the service itself needs; one paragraph */
	struct nb_preset_port ports[NB_PRESET_PORTS];
	size_t port_count;
};

extern const struct nb_preset nb_presets[]; /* sorted by name */
extern const size_t nb_preset_count;
/* By its name or an alias; NULL: there is none. */
const struct nb_preset *nb_preset_find(const char *name);

/* /etc/nat-bridge/config.json; a missing file is the default. */
struct nb_config {
	uint32_t mark;	       /* default 0x10000000, never 0 */
	char *docker;	       /* path of the engine's socket, or NULL */
	char *podman;	       /* likewise */
	char *podman_networks; /* directory, or NULL */
};
#define NB_MARK_DEFAULT UINT32_C(0x10000000)
/* @ret is untouched on failure; free with nb_config_clear(). */
int nb_config_read(const char *path, struct nb_config *ret, struct nb_error *err);
void nb_config_clear(struct nb_config *config);

#endif
