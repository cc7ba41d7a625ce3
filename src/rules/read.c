/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reads a rules directory, and answers questions about what was read. */
#include "parse.h"
#include "mention.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* gcc 12 takes what an element of an array owns for leaked when the index is no constant. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wanalyzer-malloc-leak"
#endif

int nb_rules_out_of_memory(struct nb_error *err)
{
	return nb_error_set(err, NB_STATUS_FAILED, ENOMEM, "memory", "out of memory");
}

char *nb_rules_path(const char *directory, const char *name)
{
	size_t length = strlen(directory);
	char *path;

	while (length > 1 && directory[length - 1] == '/')
		length--;
	if (asprintf(&path, "%.*s/%s", (int)length, directory, name) < 0)
		return NULL;
	return path;
}

/* Grow an array that is full whenever its count is a power of two. NULL: out of memory. */
static void *grow(void *items, size_t count, size_t size)
{
	if (count & (count - 1))
		return items;
	return reallocarray(items, count ? 2 * count : 1, size);
}

static int add_file(struct nb_rules *rules, const char *name)
{
	struct nb_rule_file *files = grow(rules->files, rules->file_count, sizeof(*files));

	if (!files)
		return -ENOMEM;
	rules->files = files;
	files[rules->file_count] = (struct nb_rule_file){ .name = strdup(name) };
	if (!files[rules->file_count].name)
		return -ENOMEM;
	rules->file_count++;
	return 0;
}

/* @name is ".NAME.gone". */
static int add_unfinished(struct nb_rules *rules, const char *name)
{
	char **items = grow(rules->unfinished, rules->unfinished_count, sizeof(*items));

	if (!items)
		return -ENOMEM;
	rules->unfinished = items;
	items[rules->unfinished_count] = strndup(name + 1,
						 strlen(name) - strlen(".") - strlen(".gone"));
	if (!items[rules->unfinished_count])
		return -ENOMEM;
	rules->unfinished_count++;
	return 0;
}

static int compare_files(const void *a, const void *b)
{
	return strcmp(((const struct nb_rule_file *)a)->name,
		      ((const struct nb_rule_file *)b)->name);
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int list_directory(DIR *stream, struct nb_rules *rules, struct nb_error *err)
{
	const struct dirent *entry;
	int r = 0;

	while (!r && (errno = 0, entry = readdir(stream))) {
		const char *name = entry->d_name;

		if (name[0] != '.' && nb_has_suffix(name, ".json"))
			r = add_file(rules, name);
		else if (name[0] == '.' && nb_has_suffix(name + 1, ".json.gone"))
			r = add_unfinished(rules, name);
	}
	if (r)
		return nb_rules_out_of_memory(err);
	if (errno)
		return nb_file_error(err, NB_DIRECTORY_KIND, errno, "list", rules->directory);
	if (rules->file_count)
		qsort(rules->files, rules->file_count, sizeof(*rules->files), compare_files);
	if (rules->unfinished_count)
		qsort(rules->unfinished, rules->unfinished_count, sizeof(*rules->unfinished),
		      compare_names);
	return 0;
}

/*
 * Can the file be left unread, because only a few ports matter and it mentions
 * none of them? Only a large one, where that saves something. Its name counts as
 * well: a change may want to write to the file of that name.
 */
static bool is_beside_the_point(int directory, const char *name, const struct nb_rules_about *about)
{
	bool beside = about != NULL;
	struct stat st;
	int fd;

	if (!beside || about->count > NB_ABOUT_MAX)
		return false;
	fd = openat(directory, name, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		return false;
	beside = !fstat(fd, &st) && S_ISREG(st.st_mode) && st.st_size >= NB_ABOUT_SIZE;
	for (size_t i = 0; beside && i < about->count; i++) {
		char number[8];

		snprintf(number, sizeof(number), "%u", about->specs[i].port);
		beside = !nb_text_holds_number(name, strlen(name), number) &&
			 !nb_file_may_hold_port(fd, about->specs[i].port);
	}
	close(fd);
	return beside;
}

/* An invalid file is recorded; only what concerns them all is returned. */
static int read_file(int directory, struct nb_rules_reading *reading, size_t i,
		     struct nb_error *err)
{
	struct nb_rules *rules = reading->rules;
	struct nb_rule_file *file = &rules->files[i];
	struct nb_error inner = { 0 };
	char *text = NULL;
	size_t length;
	char *path;
	int r;

	if (is_beside_the_point(directory, file->name, reading->about)) {
		file->valid = true;
		return 0;
	}
	path = nb_rules_path(rules->directory, file->name);
	if (!path)
		return nb_rules_out_of_memory(err);
	r = nb_file_load(directory, file->name, NB_RULES_KIND, path, &text, &length, &inner);
	if (!r)
		r = nb_rules_parse(reading, i, path, text, length, &inner);
	free(text);
	free(path);
	if (r == -ENOENT && !inner.number) {
		/* Removed since the directory was listed. */
		free(file->name);
		file->name = NULL;
		return 0;
	}
	if (r == -ENOMEM)
		return nb_rules_out_of_memory(err);
	file->valid = !r;
	if (!r)
		return 0;
	file->error = malloc(sizeof(*file->error));
	if (!file->error)
		return nb_rules_out_of_memory(err);
	*file->error = inner;
	return 0;
}

static int read_files(int directory, struct nb_rules_reading *reading, struct nb_error *err)
{
	struct nb_rules *rules = reading->rules;
	size_t kept = 0;

	for (size_t i = 0; i < rules->file_count; i++) {
		int r;

		/* Close the gaps which vanished files left: mappings tell their file by its index. */
		if (i != kept) {
			rules->files[kept] = rules->files[i];
			rules->files[i] = (struct nb_rule_file){ 0 };
		}
		r = read_file(directory, reading, kept, err);
		if (r)
			return r;
		if (rules->files[kept].name)
			kept++;
	}
	rules->file_count = kept;
	nb_mapping_list_sort(&rules->mappings);
	nb_mapping_list_sort(&rules->repeated);
	if (reading->repetitions > NB_WARN_REPETITIONS)
		nb_warn(reading->warnings, "%zu mappings occur more than once in the rule files",
			reading->repetitions);
	return 0;
}

/*
 * What an unfinished removal had begun to take away: the old text of its file. It may be
 * in the new text still, and a file that cannot be read tells nothing; both are harmless.
 */
static int read_gone(int directory, struct nb_rules *rules, const char *name, struct nb_error *err)
{
	struct nb_rules scratch = { .directory = rules->directory };
	struct nb_rules_reading reading = { .rules = &scratch };
	char *text = NULL, *dotted = NULL;
	struct nb_error ignored = { 0 };
	size_t length;
	int r = 0;

	if (asprintf(&dotted, ".%s.gone", name) < 0)
		return nb_rules_out_of_memory(err);
	if (add_file(&scratch, name) == 0 &&
	    nb_file_load(directory, dotted, NB_RULES_KIND, dotted, &text, &length, &ignored) == 0 &&
	    nb_rules_parse(&reading, 0, dotted, text, length, &ignored) == 0)
		for (size_t i = 0; r == 0 && i < scratch.mappings.count; i++)
			r = nb_mapping_list_append(&rules->gone, &scratch.mappings.items[i]);
	free(text);
	free(dotted);
	nb_index_clear(&reading.index);
	scratch.directory = NULL;
	nb_rules_clear(&scratch);
	return r ? nb_rules_out_of_memory(err) : 0;
}

static int read_directory(struct nb_rules_reading *reading, struct nb_error *err)
{
	struct nb_rules *rules = reading->rules;
	struct stat st;
	DIR *stream;
	int r;
	int fd;

	fd = open(rules->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0)
		return nb_file_error(err, NB_DIRECTORY_KIND, errno, "read", rules->directory);
	stream = fdopendir(fd);
	if (!stream) {
		close(fd);
		return nb_rules_out_of_memory(err);
	}
	rules->present = true;
	if (fstat(fd, &st))
		r = nb_file_error(err, NB_DIRECTORY_KIND, errno, "read", rules->directory);
	else
		r = nb_file_trust(&st, NB_DIRECTORY_KIND, rules->directory, err);
	if (!r)
		r = list_directory(stream, rules, err);
	if (!r)
		r = read_files(fd, reading, err);
	for (size_t i = 0; !r && i < rules->unfinished_count; i++)
		r = read_gone(fd, rules, rules->unfinished[i], err);
	closedir(stream);
	return r;
}

int nb_rules_read(const char *directory, struct nb_rules *ret, struct nb_warnings *warnings,
		  struct nb_error *err)
{
	return nb_rules_read_about(directory, NULL, ret, warnings, err);
}

int nb_rules_read_about(const char *directory, const struct nb_rules_about *about,
			struct nb_rules *ret, struct nb_warnings *warnings, struct nb_error *err)
{
	struct nb_rules_reading reading = { .rules = ret, .warnings = warnings, .about = about };
	int r;

	*ret = (struct nb_rules){ .directory = strdup(directory) };
	if (!ret->directory)
		return nb_rules_out_of_memory(err);
	r = read_directory(&reading, err);
	nb_index_clear(&reading.index);
	if (r)
		nb_rules_clear(ret);
	return r;
}

void nb_rules_clear(struct nb_rules *rules)
{
	for (size_t i = 0; i < rules->file_count; i++) {
		free(rules->files[i].name);
		free(rules->files[i].schema);
		free(rules->files[i].error);
	}
	for (size_t i = 0; i < rules->unfinished_count; i++)
		free(rules->unfinished[i]);
	free(rules->files);
	free(rules->unfinished);
	free(rules->directory);
	nb_mapping_list_clear(&rules->mappings);
	nb_mapping_list_clear(&rules->repeated);
	nb_mapping_list_clear(&rules->gone);
	*rules = (struct nb_rules){ 0 };
}

const struct nb_rule_file *nb_rules_invalid(const struct nb_rules *rules)
{
	for (size_t i = 0; i < rules->file_count; i++) {
		if (!rules->files[i].valid)
			return &rules->files[i];
	}
	return NULL;
}

static int compare_key(const void *a, const void *b)
{
	return nb_mapping_compare_key(a, b);
}

const struct nb_mapping *nb_rules_find(const struct nb_rules *rules,
				       const struct nb_network *network, uint8_t protocol,
				       uint16_t port)
{
	struct nb_mapping key = { .network = *network, .protocol = protocol, .port = port };

	if (!rules->mappings.count)
		return NULL;
	return bsearch(&key, rules->mappings.items, rules->mappings.count, sizeof(key),
		       compare_key);
}
