"""What pyproject.toml has no words for: a library with a name of its own, and a wheel for every Python 3."""

from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

HERE = Path(__file__).parent
INCLUDED = "sparsegen_runtime/include"


def files(*patterns):
    """Files beside this one, in order."""
    return sorted(str(found.relative_to(HERE)) for pattern in patterns for found in HERE.glob(pattern))


class BuildLibrary(build_ext):
    """Names the library as linkers look for it, with a static one beside it; nothing of them is Python's."""

    def get_ext_filename(self, fullname):
        return f"{fullname.replace('.', '/')}.so"

    def build_extension(self, extension):
        super().build_extension(extension)
        folder = Path(self.get_ext_fullpath(extension.name)).parent
        name = extension.name.rpartition(".lib")[2]
        objects = self.compiler.object_filenames(extension.sources, output_dir=self.build_temp)
        # As one object, whose own names are not in the way of those of the programs that it is linked into.
        whole = str(Path(self.build_temp) / f"{name}.o")
        self.spawn(["ld", "-r", "-o", whole, *objects])
        self.spawn(["objcopy", "--localize-hidden", whole])
        self.compiler.create_static_lib([whole], name, output_dir=str(folder))


class AnyPython(bdist_wheel):
    """A wheel that depends on the platform and on no version of Python."""

    def get_tag(self):
        return ("py3", "none", super().get_tag()[2])


setup(
    cmdclass={"build_ext": BuildLibrary, "bdist_wheel": AnyPython},
    ext_modules=[
        Extension(
            "sparsegen_runtime.libsparsegen_runtime",
            files("src/*.c"),
            include_dirs=[INCLUDED],
            depends=files("src/*.h", f"{INCLUDED}/*.h"),
            extra_compile_args=[
                "-std=gnu11",
                "-O2",
                "-g0",
                "-Wall",
                "-Wextra",
                "-fvisibility=hidden",
                "-pthread",
            ],
            # Sleeping threads are inside the library for as long as the threads last that they work for.
            libraries=["m"],
            extra_link_args=["-pthread", "-Wl,-z,nodelete"],
        )
    ],
)
