/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands in what is said: somebody is to copy them, and a line's end in them is a command's end. */
#include <string.h>

#include "screen.h"

/* Words of the language, too, are commands only before these. */
struct program {
	const char *name;
	const char *before[8]; /* any word, if there is none here */
};

static const struct program programs[] = {
	{ "nat-bridge", { NULL } },
	{ "iptables-nft", { NULL } },
	{ "iptables-legacy", { NULL } },
	{ "nft", { NULL } },
	{ "firewall-cmd", { NULL } },
	{ "sysctl", { NULL } },
	{ "tc", { "filter", "qdisc" } },
	{ "ip", { "addr", "address", "link", "route", "rule", "xfrm" } },
	{ "bridge", { "link", "vlan", "fdb" } },
	{ "modprobe", { NULL } },
	{ "conntrack", { "-" } },
	{ "systemctl", { NULL } },
	{ "semodule", { NULL } },
	{ "semanage", { NULL } },
	{ "psql", { NULL } },
	{ "kill", { "-" } },
	{ "nsenter", { "-" } },
	{ "chmod", { NULL } },
	{ "chown", { NULL } },
	{ "for", { "port in " } },
};

static bool begins(const char *text, const char *word)
{
	return strncmp(text, word, strlen(word)) == 0;
}

static bool is_command(const char *text)
{
	if (begins(text, "sudo "))
		text += strlen("sudo ");
	for (size_t i = 0; i < sizeof(programs) / sizeof(programs[0]); i++) {
		const struct program *program = &programs[i];
		size_t length = strlen(program->name);

		if (!begins(text, program->name) || text[length] != ' ')
			continue;
		for (size_t j = 0; program->before[j]; j++)
			if (begins(text + length + 1, program->before[j]))
				return true;
		return !program->before[0];
	}
	return false;
}

const char *nb_text_command(const char *text)
{
	const char *colon = text;

	if (is_command(text))
		return text;
	while ((colon = strstr(colon, ": ")) != NULL) {
		colon += 2;
		if (is_command(colon))
			return colon;
	}
	return NULL;
}
