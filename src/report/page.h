#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace mlxk {

/// A document that is written from top to bottom. Texts are plain: whatever they hold, the document shows it as it is.
class Page {
 public:
  virtual ~Page() = default;
  virtual void heading(int level, const std::string& text) = 0;
  virtual void paragraph(const std::string& text) = 0;
  virtual void list(const std::vector<std::string>& items) = 0;
  virtual void table(const std::vector<std::string>& header, const std::vector<std::vector<std::string>>& rows) = 0;
  /// A picture; `name` is its file's name where it has one of its own.
  virtual void figure(const std::string& title, const std::string& name, const std::string& svg) = 0;
  /// The whole document; call it once.
  virtual std::string text() = 0;
};

/// Files beside a document: name and content.
using PageFiles = std::vector<std::pair<std::string, std::string>>;

/// Markdown with tables, as GitHub shows it. Pictures become files `<stem>-<name>.svg` in `files`; without a stem they
/// are left out.
std::unique_ptr<Page> markdown_page(std::string stem, PageFiles& files);

/// An HTML page that needs no other file, readable in dark and in light.
std::unique_ptr<Page> html_page(const std::string& title);

}  // namespace mlxk
