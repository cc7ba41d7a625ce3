/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A change under test, the rules that it changes, and what is expected of their files. */
#ifndef NAT_BRIDGE_UNIT_CHANGES_H
#define NAT_BRIDGE_UNIT_CHANGES_H

#include "dir.h"
#include "nat-bridge/rules.h"

#define DIRECTORY  "etc/nat-bridge/rules.d"
#define PATH(name) DIRECTORY "/" name
#define BR0_80	   "iface.br0-80-tcp.json"

extern struct nb_rules rules;
extern struct nb_error err;
extern struct nb_change *change;

/* What the program writes for one mapping, and what a person wrote for two. */
extern const char one_file[];
extern const char hand_written[];

/* A TCP mapping. */
struct nb_mapping make(const char *network, unsigned int port, const char *target);
/* The rules directory, below the test's own. */
void make_directory(void);
void teardown(void);
/* A fresh reading; ends the change. */
void read_rules(void);
/* A fresh reading and a change of it. */
void begin_add(void);
void begin_remove(void);
/* nb_change_put() and so on, of such a mapping. */
int put(const char *network, unsigned int port, const char *target);
int take(const char *network, unsigned int port);
const char *file_of(const char *network, unsigned int port);
/* These must succeed. */
void prepare(void);
void commit(void);
/* The file holds exactly @text. */
void expect(const char *path, const char *text);
/* In the last reading. */
const struct nb_mapping *find(const char *network, unsigned int port);

#endif
