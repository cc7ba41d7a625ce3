/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The stamp of the last apply, in /run/nat-bridge beside the lock.
 *
 * The kernel walks a set from its beginning for each 32 KiB that it dumps, so
 * dumping is quadratic: at 65,000 mappings it takes as long as loading them. But every
 * commit of any program changes the ruleset's generation. If that is still
 * the one that the last apply left, nothing in nf_tables has changed, and what remains to be
 * looked at are rule files and devices. An expiry changes no generation:
 * a wish with timed mappings is never stamped.
 *
 * A generation counts within one network namespace, whose inode may be used
 * again: the namespace is told by its cookie (Linux 5.14; without it there is
 * no stamp) and the boot's id.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "stamp.h"

#define STAMP_SIZE 256

/* A small file as text. Returns its length, or 0. */
static size_t read_text(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	ssize_t length;

	if (fd < 0)
		return 0;
	length = read(fd, text, size - 1);
	close(fd);
	if (length < 0)
		length = 0;
	text[length] = '\0';
	return (size_t)length;
}

static bool word_stamp(const struct nb_run *run, const struct nb_wanted *wanted,
		       uint32_t generation, char *text)
{
	char boot[64];
	uint64_t cookie;

	if (wanted->timed || wanted->refused_count || run->rules.unfinished_count ||
	    nb_rules_invalid(&run->rules) || !nb_netns_cookie(&cookie) ||
	    !read_text("/proc/sys/kernel/random/boot_id", boot, sizeof(boot)))
		return false;
	boot[strcspn(boot, "\n")] = '\0';
	snprintf(text, STAMP_SIZE, "%s netns %llu generation %u mark %x wish %016llx version %s\n",
		 boot, (unsigned long long)cookie, generation, run->config.mark,
		 (unsigned long long)wanted->digest, NB_VERSION);
	return true;
}

void nb_stamp_save(struct nb_run *run, const struct nb_wanted *wanted, uint32_t generation)
{
	char path[128], fresh[128], text[STAMP_SIZE];
	size_t length;
	int fd;

	/* a warning would be said once and then never again */
	if (run->warnings.count || !word_stamp(run, wanted, generation, text) ||
	    !nb_runtime_path(path, sizeof(path), ".applied") ||
	    !nb_runtime_path(fresh, sizeof(fresh), ".applied.new"))
		return;
	fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return;
	length = strlen(text);
	if (write(fd, text, length) == (ssize_t)length)
		rename(fresh, path);
	else
		unlink(fresh);
	close(fd);
}

/*
 * Every wanted bridge open, tagged and with its filter at ingress, if such can be had; and no
 * other device tagged or with a filter of ours.
 */
static bool devices_agree(const struct nb_state *devices, const struct nb_bridge_list *bridges)
{
	const struct nb_link_list *links = &devices->links;
	size_t found = 0;

	for (size_t i = 0; i < links->count; i++) {
		const struct nb_link *link = &links->items[i];
		bool wanted = nb_bridge_find(bridges, link->name) != NULL;

		if (wanted != nb_link_is_tagged(link) || (wanted && link->route_localnet != 1))
			return false;
		if (wanted ? !link->ingress.current && devices->ingress != NB_INGRESS_IMPOSSIBLE
			   : link->ingress.priority != 0 || link->ingress.own_qdisc)
			return false;
		found += wanted;
	}
	return found == bridges->count;
}

bool nb_stamp_is_current(struct nb_run *run, struct nb_wanted *wanted)
{
	char path[128], have[STAMP_SIZE], want[STAMP_SIZE];
	struct nb_state devices = { 0 };
	struct nb_desired desired = { 0 };
	bool current = false;

	if (run->options.dry_run || !nb_runtime_path(path, sizeof(path), ".applied") ||
	    !read_text(path, have, sizeof(have)))
		return false;
	/* the wish, as far as it does not depend on what the ruleset holds */
	if (nb_state_read_devices(run->nl, run->config.mark, &devices, &run->error) == 0 &&
	    nb_wanted_build(run, &devices, &desired, wanted) == 0 &&
	    nb_probe_ingress(run, &desired.bridges, &devices) == 0)
		current = word_stamp(run, wanted, devices.generation, want) &&
			  strcmp(have, want) == 0 && devices_agree(&devices, &desired.bridges);
	nb_desired_clear(&desired);
	nb_state_clear(&devices);
	return current;
}
