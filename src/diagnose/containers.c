/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a container takes for its host: host.docker.internal in its /etc/hosts. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "diagnose.h"
#include "nat-bridge/route.h"

static const char *const names[] = { "host.docker.internal", "host.containers.internal" };

/* Does the line give one of these names? Cuts it at the end of the address. */
static const char *find_name(char *line)
{
	char *rest, *word;

	line[strcspn(line, "#\n")] = '\0';
	if (!strtok_r(line, " \t", &rest))
		return NULL;
	while ((word = strtok_r(NULL, " \t", &rest)))
		for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
			if (strcmp(word, names[i]) == 0)
				return names[i];
	return NULL;
}

static bool is_of_host(struct nb_diagnosis *diagnosis, const char *text)
{
	struct nb_error ignored;
	struct nb_route route;
	struct in_addr in;

	if (inet_pton(AF_INET, text, &in) != 1)
		return false;
	/* what cannot be found out is no reason to complain */
	return nb_route_lookup(diagnosis->nl, ntohl(in.s_addr), &route, &ignored) < 0 ||
	       (route.local && ntohl(in.s_addr) >> 24 != 127);
}

/* Is any port of the mappings on the bridge of @one mapped on @bridge, too? */
static bool is_mapped(const struct nb_diagnosis *diagnosis, const struct nb_case *one,
		      const char *bridge)
{
	for (size_t i = 0; diagnosis->state && i < diagnosis->case_count; i++) {
		const struct nb_case *other = &diagnosis->cases[i];
		struct nb_element key = { .port = other->mapping->port,
					  .protocol = other->mapping->protocol };

		snprintf(key.bridge, sizeof(key.bridge), "%s", bridge);
		if (strcmp(other->bridge, one->bridge) == 0 &&
		    nb_element_find(&diagnosis->state->targets, &key))
			return true;
	}
	return false;
}

static const struct nb_link *find_link(const struct nb_diagnosis *diagnosis, int index)
{
	for (size_t i = 0; index && i < diagnosis->links->count; i++)
		if (diagnosis->links->items[i].index == index)
			return &diagnosis->links->items[i];
	return NULL;
}

/*
 * An address of the host's is of use if it is reached, and through a bridge with mappings. False: in
 * @why what stands against it.
 */
static bool is_of_use(struct nb_diagnosis *diagnosis, const struct nb_case *one,
		      const struct nb_inhabitant *who, const char *address, char *why, size_t size)
{
	const struct nb_link *end, *bridge;
	struct nb_probe_way way;
	struct in_addr in;

	if (!diagnosis->may_probe || inet_pton(AF_INET, address, &in) != 1 ||
	    !nb_find_way(diagnosis, who->pid, ntohl(in.s_addr), &way, &end))
		return true;
	if (!way.exists) {
		snprintf(why, size, "to which it has no route");
		return false;
	}
	bridge = end ? find_link(diagnosis, end->master) : NULL;
	if (!bridge || bridge->index == one->link->index || is_mapped(diagnosis, one, bridge->name))
		return true;
	snprintf(why, size, "to which it sends through %s, where %u/%s is not mapped", bridge->name,
		 one->mapping->port, nb_protocol_name(one->mapping->protocol));
	return false;
}

static void blame(struct nb_diagnosis *diagnosis, const struct nb_case *one,
		  const struct nb_inhabitant *who, const char *name, const char *address,
		  const char *why)
{
	struct nb_cause *cause = nb_blame_bridge(diagnosis, one, "resolves");
	char own[INET_ADDRSTRLEN];
	struct in_addr in = { .s_addr = htonl(who->dials ? who->dials : one->address) };

	if (!cause)
		return;
	inet_ntop(AF_INET, &in, own, sizeof(own));
	snprintf(cause->what, sizeof(cause->what), "in %s%s %s is %.64s, %s",
		 who->name[0] ? "container " : "the container on ",
		 who->name[0] ? who->name : one->bridge, name, address, why);
	snprintf(cause->evidence, sizeof(cause->evidence), "/etc/hosts of the container (pid %d)",
		 (int)who->pid);
	snprintf(cause->mend, sizeof(cause->mend),
		 "start the container with --add-host %s:%s (compose: extra_hosts)", name,
		 one->address ? own : "host-gateway");
}

static FILE *open_hosts(pid_t pid)
{
	char path[64];
	FILE *file;
	int root, fd;

	snprintf(path, sizeof(path), "/proc/%d/root", (int)pid);
	root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return NULL;
	/* the container's own: a link in it must not lead out */
	fd = openat(root, "etc/hosts", O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	close(root);
	file = fd < 0 ? NULL : fdopen(fd, "r");
	if (fd >= 0 && !file)
		close(fd);
	return file;
}

static void check_hosts(struct nb_diagnosis *diagnosis, const struct nb_case *one,
			const struct nb_inhabitant *who)
{
	char line[512], bad[512] = "", why[128] = "";
	const char *name, *bad_name = NULL;
	FILE *file = open_hosts(who->pid);
	bool good = false;

	if (!file)
		return;
	/* a name may have an address of each family, of which one is enough */
	for (int i = 0; i < 1000 && fgets(line, sizeof(line), file); i++) {
		name = find_name(line);
		if (!name)
			continue;
		if (strchr(line, ':'))
			snprintf(why, sizeof(why),
				 "which is an IPv6 address: mappings are of IPv4");
		else if (!is_of_host(diagnosis, line))
			snprintf(why, sizeof(why),
				 "which is no address of this host that a mapping serves");
		else
			good |= is_of_use(diagnosis, one, who, line, why, sizeof(why));
		if (!good) {
			bad_name = name;
			memcpy(bad, line, sizeof(bad));
		}
	}
	fclose(file);
	if (!good && bad_name)
		blame(diagnosis, one, who, bad_name, bad, why);
}

/* On two networks that are looked at it is met twice. */
static bool is_known(const struct nb_diagnosis *diagnosis, size_t count, pid_t pid)
{
	for (size_t i = 0; i < count; i++)
		if (diagnosis->inhabitants[i].pid == pid)
			return true;
	return false;
}

static const struct nb_case *find_case(const struct nb_diagnosis *diagnosis, const char *bridge)
{
	for (size_t i = 0; i < diagnosis->case_count; i++)
		if (nb_case_counts(&diagnosis->cases[i]) &&
		    strcmp(diagnosis->cases[i].bridge, bridge) == 0)
			return &diagnosis->cases[i];
	return NULL;
}

void nb_check_containers(struct nb_diagnosis *diagnosis)
{
	size_t told = diagnosis->inhabitant_count;

	for (size_t i = 0; i < told; i++) {
		const struct nb_inhabitant *who = &diagnosis->inhabitants[i];
		const struct nb_case *one = find_case(diagnosis, who->bridge);

		if (one && !is_known(diagnosis, i, who->pid))
			check_hosts(diagnosis, one, who);
	}
	/* where no engine told, who was found behind a port */
	for (size_t i = 0; i < diagnosis->case_count; i++) {
		const struct nb_case *one = &diagnosis->cases[i];
		struct nb_inhabitant who = { .pid = one->pid };

		if (nb_case_is_first(diagnosis, i) && one->pid &&
		    !is_known(diagnosis, told, one->pid))
			check_hosts(diagnosis, one, &who);
	}
}
