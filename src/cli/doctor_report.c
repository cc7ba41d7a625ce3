/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * doctor --report: one file that says all that somebody elsewhere needs to know, and nothing that
 * he need not.
 */
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "../firewall/tell.h"
#include "doctor.h"
#include "doctor_json.h"
#include "json.h"
#include "nat-bridge/firewall.h"
#include "nat-bridge/mask.h"

/* UIDs of people, everywhere but on some old hosts. */
#define FIRST_PERSON 1000
#define LAST_PERSON  65000

static void add_devices(cJSON *object, const struct nb_examination *examination)
{
	const struct nb_link_list *links = nb_view_links(&examination->view);
	cJSON *array = cJSON_AddArrayToObject(object, "devices");

	for (size_t i = 0; i < links->count; i++) {
		const struct nb_link *link = &links->items[i];
		cJSON *one = cJSON_CreateObject();

		cJSON_AddStringToObject(one, "name", link->name);
		nb_json_add_text(one, "kind", link->kind);
		cJSON_AddNumberToObject(one, "index", link->index);
		nb_json_add_count(one, "master", link->master != 0, (uint64_t)link->master);
		cJSON_AddBoolToObject(one, "up", link->up);
		cJSON_AddNumberToObject(one, "route_localnet", link->route_localnet);
		cJSON_AddBoolToObject(one, "guard", link->ingress.current);
		cJSON_AddItemToArray(array, one);
	}
}

static void add_mappings(cJSON *object, const struct nb_run *run,
			 const struct nb_examination *examination)
{
	cJSON *array = cJSON_AddArrayToObject(object, "mappings");

	for (size_t i = 0; i < examination->view.inventory.count; i++) {
		struct nb_row row = nb_view_row(run, &examination->view, i, 0);
		cJSON *one = nb_json_row(&row);

		/* what people write for themselves */
		cJSON_DeleteItemFromObject(one, "comment");
		cJSON_DeleteItemFromObject(one, "connections");
		cJSON_AddItemToArray(array, one);
	}
}

static void add_drift(cJSON *object, const struct nb_examination *examination)
{
	cJSON *array = cJSON_AddArrayToObject(object, "drift");

	for (size_t i = 0; i < examination->drift.count; i++)
		cJSON_AddItemToArray(array, cJSON_CreateString(examination->drift.items[i].what));
}

static void add_firewalls(cJSON *object, struct nb_run *run,
			  const struct nb_examination *examination)
{
	static const char *const words[] = { "unseen", "yes", "perhaps", "no" };
	const struct nb_diagnosis *diagnosis = &examination->diagnosis;
	struct nb_flow_path *paths = calloc(diagnosis->case_count + 1, sizeof(*paths));
	cJSON *array = cJSON_AddArrayToObject(object, "firewalls");
	struct nb_firewall_list list = { 0 };
	size_t count = 0;

	for (size_t i = 0; paths && i < diagnosis->case_count; i++)
		if (diagnosis->cases[i].link)
			paths[count++] = nb_case_path(&diagnosis->cases[i]);
	if (paths && nb_firewall_overview(run->nl, run->config.mark, paths, count, &list) == 0)
		for (size_t i = 0; i < list.count; i++) {
			const struct nb_firewall_chain *chain = &list.items[i];
			cJSON *one = cJSON_CreateObject();

			cJSON_AddStringToObject(one, "family", chain->family);
			nb_json_add_text(one, "table", chain->table);
			nb_json_add_text(one, "chain", chain->chain);
			cJSON_AddStringToObject(one, "hook", chain->hook);
			cJSON_AddNumberToObject(one, "priority", chain->priority);
			nb_json_add_text(one, "program", chain->program);
			cJSON_AddStringToObject(one, "passes", words[chain->passage]);
			cJSON_AddItemToArray(array, one);
		}
	nb_firewall_list_clear(&list);
	free(paths);
}

static cJSON *collect(struct nb_run *run, const struct nb_examination *examination)
{
	cJSON *object = cJSON_CreateObject();
	struct utsname system;

	cJSON_AddStringToObject(object, "nat-bridge", NB_VERSION);
	if (uname(&system) == 0) {
		cJSON_AddStringToObject(object, "kernel", system.release);
		cJSON_AddStringToObject(object, "machine", system.machine);
	}
	cJSON_AddBoolToObject(object, "root", geteuid() == 0);
	cJSON_AddItemToObject(object, "doctor", nb_doctor_to_json(run, examination));
	add_mappings(object, run, examination);
	add_drift(object, examination);
	add_devices(object, examination);
	add_firewalls(object, run, examination);
	return object;
}

/* Who people are: they own engines, and directories have their names. */
static void learn_users(struct nb_mask *mask)
{
	const struct passwd *entry;

	setpwent();
	while ((entry = getpwent()))
		if (entry->pw_uid >= FIRST_PERSON && entry->pw_uid < LAST_PERSON)
			nb_mask_add(mask, "user", entry->pw_name);
	endpwent();
}

static void learn_names(struct nb_mask *mask, const struct nb_run *run,
			const struct nb_examination *examination)
{
	const struct nb_link_list *links = nb_view_links(&examination->view);
	struct utsname system;

	if (uname(&system) == 0 && strcmp(system.nodename, "localhost") != 0)
		nb_mask_add(mask, "host", system.nodename);
	learn_users(mask);
	for (size_t i = 0; i < run->rules.file_count; i++)
		nb_mask_add(mask, "file", run->rules.files[i].name);
	for (size_t i = 0; i < examination->view.inventory.count; i++) {
		const struct nb_stored *stored = &examination->view.inventory.items[i];

		if (stored->mapping.network.engine != NB_ENGINE_IFACE)
			nb_mask_add(mask, "network", stored->mapping.network.name);
	}
	for (int engine = NB_ENGINE_DOCKER; engine < NB_ENGINE_COUNT; engine++)
		for (size_t i = 0; i < run->engines[engine].count; i++)
			nb_mask_add(mask, "network", run->engines[engine].networks[i].name);
	for (size_t i = 0; i < examination->diagnosis.case_count; i++)
		nb_mask_add(mask, "container", examination->diagnosis.cases[i].container);
	for (size_t i = 0; i < examination->diagnosis.inhabitant_count; i++)
		nb_mask_add(mask, "container", examination->diagnosis.inhabitants[i].name);
	for (int engine = NB_ENGINE_DOCKER; engine < NB_ENGINE_COUNT; engine++)
		for (size_t i = 0; i < run->published[engine].count; i++)
			nb_mask_add(mask, "container", run->published[engine].items[i].container);
	for (size_t i = 0; i < links->count; i++)
		nb_mask_add(mask, strcmp(links->items[i].kind, "bridge") == 0 ? "br" : "dev",
			    links->items[i].name);
	for (size_t i = 0; i < examination->view.inventory.count; i++)
		nb_mask_add(mask, "br", examination->view.inventory.items[i].bridge);
	if (examination->about_network)
		nb_mask_add(mask, "network", examination->network.name);
	if (strcmp(run->options.rules, NB_DEFAULT_RULES) != 0)
		nb_mask_add(mask, "directory", run->options.rules);
}

static int write_file(struct nb_run *run, const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	size_t length = strlen(text), done = 0;

	if (fd < 0)
		return nb_error_set(&run->error, NB_STATUS_FAILED, errno, "report",
				    "cannot write the report: %s: %s%s", path, strerror(errno),
				    errno == EEXIST ? " (name a new file)" : "");
	while (done < length) {
		ssize_t written = write(fd, text + done, length - done);

		if (written < 0 && errno == EINTR)
			continue;
		if (written <= 0)
			break;
		done += (size_t)written;
	}
	if (close(fd) == 0 && done == length)
		return 0;
	(void)unlink(path);
	return nb_error_set(&run->error, NB_STATUS_FAILED, errno ? errno : EIO, "report",
			    "cannot write the report: %s: %s", path, strerror(errno ? errno : EIO));
}

int nb_doctor_report(struct nb_run *run, const struct nb_examination *examination, const char *path)
{
	cJSON *object = collect(run, examination);
	struct nb_mask mask = { 0 };
	char *text = cJSON_Print(object), *masked = NULL;
	int r;

	learn_names(&mask, run, examination);
	if (text)
		masked = nb_mask_text(&mask, text);
	r = masked ? write_file(run, path, masked) : nb_out_of_memory(run);
	free(masked);
	free(text);
	nb_mask_clear(&mask);
	cJSON_Delete(object);
	return r;
}
